// FireEdge of the rehearsal stand-in: the start, in the order of the real src/server/index.js.
'use strict'

const http = require('http')
const dns = require('dns')
const { BANNER, terminal, openLog, log } = require('./standin/log')
const paths = require('./standin/paths')
const { loadConfigs } = require('./standin/config')
const { requireSunstoneAuth, loadKey } = require('./standin/credentials')
const { createApp } = require('./standin/app')

dns.setDefaultResultOrder('ipv4first') // as the real one, utils/server.js setDnsResultOrder

function main() {
  terminal('green', BANNER)
  let config
  try {
    config = loadConfigs()
    openLog(config.server)
    log(BANNER, 2)
    requireSunstoneAuth()
  } catch (error) {
    terminal('red', `Error: ${error.message}`)
    process.exit(1)
  }
  loadKey() // a directory that cannot be written ends the process by the stream's own error, as it does the real one
  const app = createApp(config)
  const server = http.createServer(app.handle)
  server.on('upgrade', app.upgrade)
  server.on('error', (error) => {
    terminal('red', `Server could not be started ${error.message}`)
    process.exit(1)
  })
  server.listen(config.server.port, config.server.host, () => {
    terminal('green', `Server listen in ${config.server.host}:${config.server.port}`)
  })
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(0))
}

main()
