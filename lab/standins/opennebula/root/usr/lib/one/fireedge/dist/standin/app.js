// Which part of FireEdge answers a path: the API, the pages, the WebSockets; everything else leads to the pages.
'use strict'

const { createApi, answer } = require('./api')
const { page } = require('./pages')
const { createHooks } = require('./hooks')
const { createGuacamole } = require('./guacamole')
const { forecasts } = require('./shared')
const { VERSION, log } = require('./log')

function createApp(config) {
  const api = createApi(config)
  const hooks = createHooks(config.server)
  const guacamole = createGuacamole(config.server)

  async function handle(request, response) {
    response.on('finish', () => {
      if (response.statusCode >= 400) log(`${request.method} ${request.url} ${response.statusCode}`)
    })
    if (config.server.cors) response.setHeader('Access-Control-Allow-Origin', '*')
    const url = new URL(request.url, 'http://fireedge')
    const pages = /^\/fireedge\/sunstone(\/|$)/.test(url.pathname)
    // For each page, with nobody to catch what it throws: the process ends (routes/entrypoints/App.js, OpenNebula/one#7694).
    if (pages && !VERSION.startsWith('6.')) forecasts()
    try {
      if (url.pathname === '/fireedge/api' || url.pathname.startsWith('/fireedge/api/')) await api(request, response, url)
      else if (request.method !== 'GET' && request.method !== 'HEAD') answer(response, 404)
      else if (pages) {
        response.writeHead(200, { 'Content-Type': 'text/html' })
        response.end(page())
      } else {
        response.writeHead(302, { Location: '/fireedge/sunstone' })
        response.end()
      }
    } catch (error) {
      log(error.stack ?? `${error.status} ${error.message}`)
      if (!response.headersSent) answer(response, error.status ?? 500, undefined, error.message)
      else response.end()
    }
  }

  function upgrade(request, socket, head) {
    const { pathname } = new URL(request.url, 'http://fireedge')
    socket.on('error', (error) => log(`WebSocket: ${error.message}`))
    if (pathname === '/fireedge/websockets/hooks') hooks(request, socket, head)
    else if (pathname === '/fireedge/guacamole') guacamole(request, socket, head)
    else socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n')
  }

  return { handle, upgrade }
}

module.exports = { createApp }
