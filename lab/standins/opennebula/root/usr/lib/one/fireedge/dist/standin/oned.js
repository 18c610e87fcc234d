// oned's XML-RPC API, and which endpoint of it is asked.
//
// The trap of the real one is kept: `one_xmlrpc` is used until the first login; then the zone pool is cached in memory and
// the ENDPOINT that oned's database has for the zone is used for everything (routes/api/auth/utils.js setZones,
// utils/server.js getDataZone). A zone whose endpoint is http://localhost:2633/RPC2 therefore breaks a FireEdge elsewhere.
'use strict'

const http = require('http')
const https = require('https')
const { parse, escape, asList } = require('./xml')
const { log } = require('./log')

let zones = null

class Unreachable extends Error {}

function encodeValue(value) {
  if (typeof value === 'boolean') return `<boolean>${value ? 1 : 0}</boolean>`
  if (typeof value === 'number') return `<int>${value}</int>`
  return `<string>${escape(value)}</string>`
}

function decodeValue(value) {
  if (typeof value === 'string') return value
  const [[kind, content]] = Object.entries(value)
  if (kind === 'array') return asList(content.data?.value).map(decodeValue)
  if (kind === 'boolean') return content === '1'
  if (kind === 'i4' || kind === 'i8' || kind === 'int') return Number(content)
  return content
}

function post(endpoint, body) {
  return new Promise((resolve, reject) => {
    const client = endpoint.startsWith('https:') ? https : http
    const headers = { 'Content-Type': 'text/xml', 'Content-Length': Buffer.byteLength(body) }
    const request = client.request(endpoint, { method: 'POST', headers }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('end', () => resolve(Buffer.concat(chunks).toString('utf8')))
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end(body)
  })
}

/**
 * What the real one's callback gets: the parsed document, a number, or oned's error text as a string.
 * Rejects with Unreachable when nothing or no XML-RPC answers.
 */
async function call(endpoint, session, action, parameters = []) {
  if (!/^https?:\/\/[^ "]+$/.test(endpoint)) log(`XMLRPC is not a URL valid: ${endpoint}`, 2)
  const params = [session, ...parameters].map((value) => `<param><value>${encodeValue(value)}</value></param>`).join('')
  const body = `<?xml version="1.0"?><methodCall><methodName>one.${action}</methodName><params>${params}</params></methodCall>`
  let response
  try {
    response = parse(await post(endpoint, body)).methodResponse
  } catch (error) {
    log(`${action} at ${endpoint}: ${error.message}`)
    throw new Unreachable(error.message)
  }
  if (response.fault) {
    const members = asList(response.fault.value.struct.member)
    return String(members.find((member) => member.name === 'faultString')?.value.string ?? 'fault')
  }
  const [success, value] = decodeValue(response.params.param.value)
  if (success && typeof value === 'string' && value.startsWith('<')) return parse(value)
  return value
}

/** The zone as the real one finds it: the cached pool, else the configuration. Undefined for an unknown id. */
function zone(config, id) {
  const configured = [{ id: '0', name: 'OpenNebula', rpc: config.one_xmlrpc ?? 'http://localhost:2633/RPC2', zeromq: config.subscriber_endpoint }]
  return (zones ?? configured).find((entry) => entry.id === String(id ?? config.default_zone?.id ?? '0'))
}

async function cacheZones(endpoint, session) {
  if (zones) return
  try {
    const answer = await call(endpoint, session, 'zonepool.info')
    const found = asList(answer?.ZONE_POOL?.ZONE)
    if (!found.length) return
    zones = found.map((entry) => {
      const rpc = entry.TEMPLATE?.ENDPOINT || ''
      let hostname = ''
      try {
        hostname = new URL(rpc).hostname
      } catch {
        log(`zone ${entry.ID} has no URL as endpoint: ${rpc}`)
      }
      return { id: entry.ID, name: entry.NAME, rpc, zeromq: `tcp://${hostname}:2101` }
    })
    log(`zones cached: ${zones.map((entry) => `${entry.id} ${entry.rpc}`).join(', ')}`, 2)
  } catch (error) {
    log(`zone pool: ${error.message}`)
  }
}

module.exports = { call, zone, cacheZones, Unreachable }
