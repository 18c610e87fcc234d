// /fireedge/api: login, the commands passed on to oned, uploads, and the routes passed on to OneFlow.
'use strict'

const http = require('http')
const https = require('https')
const commands = require('./commands')
const sessions = require('./sessions')
const { call, zone, cacheZones } = require('./oned')
const { saveUploads } = require('./upload')
const { consoleToken } = require('./guacamole')
const { driver } = require('./shared')
const { log } = require('./log')

const MESSAGES = {
  200: 'OK',
  204: 'No content',
  400: 'Bad Request',
  401: 'Unauthorized',
  404: 'Not Found',
  500: 'Internal Server Error',
}
const BODY_LIMIT = 4 * 1024 * 1024 // express.json({limit: '4mb'})

function answer(response, id, data, message = MESSAGES[id], headers = {}) {
  const content = { id, message }
  if (data !== undefined && data !== '') content.data = data
  response.writeHead(id, { 'Content-Type': 'application/json; charset=utf-8', ...headers })
  response.end(id === 204 ? undefined : JSON.stringify(content))
}

async function readBody(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > BODY_LIMIT) throw { status: 500, message: 'request entity too large' }
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8')
  const kind = request.headers['content-type'] ?? ''
  if (kind.startsWith('application/x-www-form-urlencoded')) return Object.fromEntries(new URLSearchParams(text))
  if (!kind.startsWith('application/json') || text === '') return {}
  try {
    return JSON.parse(text)
  } catch {
    throw { status: 400, message: MESSAGES[400] }
  }
}

/** As the `upcast` package does for the defaults' types. */
function cast(value, kind) {
  if (kind === 'number') return Number.isNaN(Number(value)) ? 0 : Number(value)
  if (kind === 'boolean') return value === true || value === 1 || (typeof value === 'string' && !['', 'false', '0'].includes(value))
  return String(value)
}

function createApi(config) {
  const { server, sunstone } = config

  async function authenticate(request, response, data) {
    const place = zone(server)
    try {
      const session = await sessions.login(place.rpc, server, data)
      cacheZones(place.rpc, `${data.user}:${data.token}`) // beside the answer, as the real one
      answer(response, 200, { status: 'ok' }, 'OK', { 'Set-Cookie': sessions.cookieHeader(session) })
    } catch (error) {
      if (error.status === undefined) throw error
      log(`login of ${data.user}: ${error.status} ${error.message}`, error.status === 401 ? 2 : 0)
      answer(response, error.status, undefined, error.message)
    }
  }

  /** Claims of the session, or null after a 401 was sent. */
  function session(request, response) {
    const claims = sessions.payload(request)
    if (!claims) answer(response, 401)
    else if (!sessions.alive(claims)) {
      response.writeHead(401, { 'Content-Type': 'application/json; charset=utf-8' })
      response.end(JSON.stringify({ data: 'expired' }))
    } else return claims
    return null
  }

  async function command(name, parts, request, response, url, claims) {
    const place = zone(server, url.searchParams.get('zone') ?? undefined)
    if (!place) return answer(response, 500, undefined, 'Internal Server Error: Invalid Zone')
    const body = request.method === 'GET' ? {} : await readBody(request)
    const source = { resource: { id: parts[2] }, query: Object.fromEntries(url.searchParams), body }
    const parameters = Object.entries(commands[name][1]).map(([key, [from, fallback]]) => {
      const value = source[from][key]
      return value === undefined || value === null ? fallback : cast(value, typeof fallback)
    })
    let value
    try {
      value = await call(place.rpc, `${claims.aud}:${claims.jti}`, name, parameters)
    } catch {
      return answer(response, 500)
    }
    if (name.endsWith('.info') && parameters[0] >= 0) sessions.remember(claims.aud, name.split('.')[0], parameters[0])
    if (typeof value === 'string' && name !== 'system.version') return answer(response, value ? 404 : 204, value)
    return answer(response, 200, value)
  }

  async function upload(request, response) {
    try {
      answer(response, 200, await saveUploads(request, sunstone))
    } catch (error) {
      log(error.message)
      answer(response, error.status ?? 500, undefined, error.status ? error.message : MESSAGES[500])
    }
  }

  function driverDefaults(hypervisor, response) {
    let found
    try {
      found = driver(hypervisor)
    } catch (error) {
      log(error.message)
      return answer(response, 500, undefined, 'Failed to load vmm_exec config')
    }
    if (Object.keys(found).length) return answer(response, 200, found)
    return answer(response, 404, undefined, 'No valid vmm_exec config found')
  }

  async function virtualConsole(id, kind, response, claims) {
    let found
    try {
      found = await call(zone(server).rpc, `${claims.aud}:${claims.jti}`, 'vm.info', [Number(id), false])
    } catch {
      return answer(response, 500)
    }
    const token = found?.VM ? consoleToken(found.VM, kind) : null
    return token ? answer(response, 200, token) : answer(response, 400, `VM ${id} has no ${kind} console`)
  }

  /** `path` is OneFlow's; the session of serveradmin goes along as its user name and password. */
  function oneflow(path, method, body, response, claims) {
    return new Promise((resolve) => {
      const url = new URL(path, server.oneflow_server)
      const headers = { Authorization: `Basic ${Buffer.from(`${claims.aud}:${claims.jti}`).toString('base64')}` }
      const text = body === null ? '' : JSON.stringify(body)
      if (body !== null) Object.assign(headers, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
      const client = url.protocol === 'https:' ? https : http
      const request = client.request(url, { method, headers }, async (reply) => {
        const chunks = []
        for await (const chunk of reply) chunks.push(chunk)
        const content = Buffer.concat(chunks).toString('utf8')
        let data = content
        try {
          data = JSON.parse(content)
        } catch {
          // OneFlow answers errors as plain text
        }
        resolve(answer(response, reply.statusCode < 400 ? 200 : 500, data))
      })
      request.on('error', (error) => {
        log(`OneFlow at ${server.oneflow_server}: ${error.message}`)
        resolve(answer(response, 500))
      })
      request.end(text)
    })
  }

  async function flowRoute(parts, request, response, claims) {
    const [kind, second, third] = parts
    const body = request.method === 'GET' || request.method === 'DELETE' ? null : await readBody(request)
    if (second === 'action') return oneflow(`/${kind}/${third}/action`, request.method, { action: body.action }, response, claims)
    const content = kind === 'service_template' && body ? body.template ?? body : body
    return oneflow(`/${parts.join('/')}`, request.method, content, response, claims)
  }

  return async function api(request, response, url) {
    const parts = url.pathname.split('/').slice(3).filter(Boolean)
    const route = `${request.method} ${parts.join('/')}`
    if (route === 'POST auth') return authenticate(request, response, await readBody(request))
    const name = `${parts[0]}.${parts[1]}`
    const known = Object.hasOwn(commands, name) && commands[name][0] === request.method && parts.length <= 3
    const flow = ['service', 'service_template'].includes(parts[0])
    const guacamole = request.method === 'GET' && parts.length === 4 && parts[0] === 'vm' && parts[2] === 'guacamole'
    const others = ['POST auth/logout', 'POST image/upload', 'GET system/vmmconfig']
    if (!known && !flow && !guacamole && !others.includes(route)) return answer(response, 404)
    const claims = session(request, response)
    if (!claims) return undefined
    if (route === 'POST auth/logout') {
      sessions.logout(request)
      return answer(response, 200, 'Logout successful', 'OK', { 'Set-Cookie': sessions.clearedCookie() })
    }
    if (route === 'POST image/upload') return upload(request, response)
    if (route === 'GET system/vmmconfig') return driverDefaults(url.searchParams.get('hypervisor') ?? 'kvm', response)
    if (guacamole) return virtualConsole(parts[1], parts[3], response, claims)
    if (flow) return flowRoute(parts, request, response, claims)
    return command(name, parts, request, response, url, claims)
  }
}

module.exports = { createApi, answer }
