// The server side of RFC 6455 as far as it is needed here: handshake, text frames both ways, ping, close.
'use strict'

const crypto = require('crypto')

const MAGIC = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const TEXT = 1
const CLOSE = 8
const PING = 9
const PONG = 10
const LONGEST = 1024 * 1024

function refuse(socket, status, text) {
  socket.end(`HTTP/1.1 ${status} ${text}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}

/** {send, close, onText, onClose}, or null after the request was refused. */
function accept(request, socket, head, protocol) {
  const key = request.headers['sec-websocket-key']
  if (!key || request.headers['sec-websocket-version'] !== '13' || request.method !== 'GET') {
    refuse(socket, 400, 'Bad Request')
    return null
  }
  const proof = crypto.createHash('sha1').update(key + MAGIC).digest('base64')
  const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
  const chosen = protocol && offered.includes(protocol) ? `Sec-WebSocket-Protocol: ${protocol}\r\n` : ''
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${proof}\r\n${chosen}\r\n`
  )
  return converse(socket, head)
}

function converse(socket, head) {
  let buffer = Buffer.alloc(0)
  const peer = {
    onText: () => {},
    onClose: () => {},
    send: (text) => socket.writable && socket.write(frame(TEXT, Buffer.from(text))),
    close: () => socket.writable && socket.end(frame(CLOSE, Buffer.from([3, 232]))),
  }
  const read = (chunk) => {
    buffer = Buffer.concat([buffer, chunk])
    for (;;) {
      const found = unframe(buffer)
      if (found === undefined) return
      if (found === null) return socket.destroy()
      buffer = buffer.subarray(found.size)
      if (found.kind === TEXT) peer.onText(found.content.toString('utf8'))
      else if (found.kind === PING) socket.write(frame(PONG, found.content))
      else if (found.kind === CLOSE) peer.close()
    }
  }
  socket.on('data', read)
  socket.on('close', () => peer.onClose())
  if (head.length) read(head)
  return peer
}

function frame(kind, content) {
  const { length } = content
  if (length < 126) return Buffer.concat([Buffer.from([0x80 | kind, length]), content])
  if (length < 65536) return Buffer.concat([Buffer.from([0x80 | kind, 126, length >> 8, length & 255]), content])
  const header = Buffer.alloc(10)
  header[0] = 0x80 | kind
  header[1] = 127
  header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, content])
}

/** {kind, content, size}; undefined while the frame is not whole; null for one that is not allowed. */
function unframe(buffer) {
  if (buffer.length < 2) return undefined
  if (!(buffer[0] & 0x80) || !(buffer[1] & 0x80)) return null // in one piece, and masked as a client must
  let length = buffer[1] & 0x7f
  let at = 2
  if (length === 126) {
    if (buffer.length < 4) return undefined
    length = buffer.readUInt16BE(2)
    at = 4
  } else if (length === 127) return null
  if (length > LONGEST) return null
  if (buffer.length < at + 4 + length) return undefined
  const mask = buffer.subarray(at, at + 4)
  const content = Buffer.from(buffer.subarray(at + 4, at + 4 + length))
  for (let index = 0; index < length; index++) content[index] ^= mask[index % 4]
  return { kind: buffer[0] & 15, content, size: at + 4 + length }
}

module.exports = { accept, refuse }
