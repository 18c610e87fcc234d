// A ZMTP 3.0 subscriber without security (rfc.zeromq.org/spec/23): connects, tries again for ever, hands on messages.
'use strict'

const net = require('net')
const { log } = require('./log')

const GREETING = Buffer.alloc(64)
GREETING[0] = 0xff
GREETING[9] = 0x7f
GREETING[10] = 3
GREETING.write('NULL', 12, 'ascii')
const RETRY_MILLISECONDS = 500
const MORE = 1
const LONG = 2
const COMMAND = 4

function subscribe(endpoint, topic, deliver) {
  const [, host, port] = /^tcp:\/\/(.+):(\d+)$/.exec(endpoint) ?? []
  let socket = null
  let timer = null
  let closed = false
  let reported = false

  function connect() {
    let buffer = Buffer.alloc(0)
    let greeted = false
    let frames = []
    socket = net.connect({ host, port: Number(port) })
    socket.on('connect', () => socket.write(GREETING))
    socket.on('data', (chunk) => {
      buffer = Buffer.concat([buffer, chunk])
      if (!greeted) {
        if (buffer.length < 64) return
        if (buffer[0] !== 0xff || buffer[10] < 3 || buffer.toString('ascii', 12, 16) !== 'NULL') {
          log(`${endpoint} does not speak ZMTP 3 without security`)
          socket.destroy()
          return
        }
        buffer = buffer.subarray(64)
        greeted = true
        socket.write(command('READY', property('Socket-Type', 'SUB')))
      }
      for (let found = unframe(buffer); found; found = unframe(buffer)) {
        buffer = buffer.subarray(found.size)
        if (found.flags & COMMAND) {
          if (found.content.toString('ascii', 1, 6) === 'READY') {
            reported = false
            socket.write(frame(0, Buffer.concat([Buffer.from([1]), Buffer.from(topic)])))
          }
          continue
        }
        frames.push(found.content.toString('utf8'))
        if (found.flags & MORE) continue
        deliver(frames)
        frames = []
      }
    })
    socket.on('error', (error) => {
      if (!reported) log(`events at ${endpoint}: ${error.message}`)
      reported = true
    })
    socket.on('close', () => {
      if (!closed) timer = setTimeout(connect, RETRY_MILLISECONDS)
    })
  }

  if (host) connect()
  else log(`events: "${endpoint}" is no address`)
  return {
    close() {
      closed = true
      clearTimeout(timer)
      socket?.destroy()
    },
  }
}

function frame(flags, content) {
  if (content.length < 256) return Buffer.concat([Buffer.from([flags, content.length]), content])
  const header = Buffer.alloc(9)
  header[0] = flags | LONG
  header.writeBigUInt64BE(BigInt(content.length), 1)
  return Buffer.concat([header, content])
}

function property(name, value) {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(value.length)
  return Buffer.concat([Buffer.from([name.length]), Buffer.from(name), size, Buffer.from(value)])
}

const command = (name, content) =>
  frame(COMMAND, Buffer.concat([Buffer.from([name.length]), Buffer.from(name), content]))

function unframe(buffer) {
  if (buffer.length < 2) return null
  const flags = buffer[0]
  const header = flags & LONG ? 9 : 2
  if (buffer.length < header) return null
  const length = flags & LONG ? Number(buffer.readBigUInt64BE(1)) : buffer[1]
  if (buffer.length < header + length) return null
  return { flags, content: buffer.subarray(header, header + length), size: header + length }
}

module.exports = { subscribe }
