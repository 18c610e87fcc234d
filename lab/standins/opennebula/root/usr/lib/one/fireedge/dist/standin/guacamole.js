// /fireedge/guacamole: a console token becomes a connection to guacd, and the browser's WebSocket is joined with it.
'use strict'

const crypto = require('crypto')
const net = require('net')
const { accept, refuse } = require('./websocket')
const { fireedgeKey, encrypt, decrypt } = require('./credentials')
const { asList } = require('./xml')
const { log } = require('./log')

const SUPPORTED = ['vnc', 'ssh', 'rdp']
const PORTS = { ssh: 22, rdp: 3389 }
const instruction = (...words) => `${words.map((word) => `${[...String(word)].length}.${word}`).join(',')};`

/** The token of one VM's console: base64 of {iv, value}, AES-256-CBC with fireedge_key. Null when it has none. */
function consoleToken(vm, kind) {
  const graphics = vm.TEMPLATE?.GRAPHICS
  const host = asList(vm.HISTORY_RECORDS?.HISTORY).pop()?.HOSTNAME
  if (!SUPPORTED.includes(kind) || !host || (kind === 'vnc' && !graphics?.PORT)) return null
  const settings = { hostname: host, port: kind === 'vnc' ? graphics.PORT : PORTS[kind] }
  if (kind === 'vnc' && graphics.PASSWD) settings.password = graphics.PASSWD
  const iv = crypto.randomBytes(16)
  try {
    const value = encrypt(JSON.stringify({ connection: { type: kind, settings } }), fireedgeKey(), iv)
    return Buffer.from(JSON.stringify({ iv: iv.toString('base64'), value })).toString('base64')
  } catch (error) {
    log(`console token: ${error.message}`) // a key that is not 32 bytes long
    return null
  }
}

function readToken(token) {
  const { iv, value } = JSON.parse(Buffer.from(token, 'base64').toString('utf8'))
  const { connection } = JSON.parse(decrypt(value, fireedgeKey(), Buffer.from(iv, 'base64')))
  if (!SUPPORTED.includes(connection.type)) throw new Error(`connection type ${connection.type}`)
  return connection
}

/** Words of a whole instruction at the start of `text`, with its length; null while it is not whole. */
function readInstruction(text) {
  const words = []
  let at = 0
  for (;;) {
    const dot = text.indexOf('.', at)
    if (dot < 0) return null
    const end = dot + 1 + Number(text.slice(at, dot))
    if (end >= text.length) return null
    words.push(text.slice(dot + 1, end))
    at = end + 1
    if (text[end] === ';') return { words, size: at }
  }
}

function createGuacamole({ guacd }) {
  return function guacamole(request, socket, head) {
    let connection
    try {
      connection = readToken(new URL(request.url, 'http://fireedge').searchParams.get('token') ?? '')
    } catch (error) {
      log(`guacamole token: ${error.message}`)
      return refuse(socket, 400, 'Bad Request')
    }
    const peer = accept(request, socket, head, 'guacamole')
    if (!peer) return undefined
    const upstream = net.connect({ host: guacd.host, port: guacd.port })
    upstream.setEncoding('utf8')
    let pending = ''
    let ready = false
    upstream.on('connect', () => upstream.write(instruction('select', connection.type)))
    upstream.on('data', (text) => {
      if (ready) return peer.send(text)
      pending += text
      const found = readInstruction(pending)
      if (!found || found.words[0] !== 'args') return undefined
      pending = pending.slice(found.size)
      ready = true
      const values = found.words.slice(1).map((name) => (name.startsWith('VERSION_') ? name : connection.settings[name] ?? ''))
      upstream.write(instruction('size', 1024, 768, 96) + instruction('audio') + instruction('video') + instruction('image'))
      upstream.write(instruction('connect', ...values))
      return pending ? peer.send(pending) : undefined
    })
    upstream.on('error', (error) => {
      log(`guacd at ${guacd.host}:${guacd.port}: ${error.message}`)
      peer.close()
    })
    upstream.on('close', () => peer.close())
    peer.onText = (text) => upstream.write(text)
    peer.onClose = () => upstream.destroy()
    return undefined
  }
}

module.exports = { createGuacamole, consoleToken, instruction, readInstruction }
