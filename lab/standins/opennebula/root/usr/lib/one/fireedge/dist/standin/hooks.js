// /fireedge/websockets/hooks: oned's events for one resource, to a browser that is logged in.
//
// The real one speaks socket.io here; this one a plain WebSocket with messages {command, data}. Kept: who may follow what
// (utils/server.js middlewareValidateResourceForHookConnection), the subscription of its own for each browser, and
// that after the first login the publisher is `tcp://HOST:2101` with the host of the zone's endpoint.
'use strict'

const { accept, refuse } = require('./websocket')
const { payload, mayFollow } = require('./sessions')
const { zone } = require('./oned')
const { subscribe } = require('./zmtp')
const { parse } = require('./xml')
const { log } = require('./log')

function createHooks(config) {
  return function hooks(request, socket, head) {
    const query = new URL(request.url, 'http://fireedge').searchParams
    const claims = payload(request)
    if (!claims) return refuse(socket, 401, 'Unauthorized')
    const resource = (query.get('resource') ?? '').toLowerCase()
    const id = query.get('id')
    if (!resource || !mayFollow(claims.aud, resource, id)) return refuse(socket, 403, 'Forbidden')
    const publisher = zone(config, query.get('zone') ?? undefined)?.zeromq
    if (!publisher) return refuse(socket, 503, 'Service Unavailable')
    const peer = accept(request, socket, head)
    if (!peer) return undefined
    const subscription = subscribe(publisher, `EVENT ${resource.toUpperCase()} ${id}`, ([command, content]) => {
      try {
        peer.send(JSON.stringify({ command, data: parse(Buffer.from(content, 'base64').toString('utf8')) }))
      } catch (error) {
        log(`event ${command}: ${error.message}`)
      }
    })
    peer.onClose = () => subscription.close()
    return undefined
  }
}

module.exports = { createHooks }
