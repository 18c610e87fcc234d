// Where the real FireEdge has its files: genPathResources in utils/server.js, with and without ONE_LOCATION.
'use strict'

const base = process.env.ONE_LOCATION
const etc = base ? `${base}/etc` : '/etc/one'
const variable = base ? `${base}/var` : '/var/lib/one'
const logs = base ? `${base}/var` : '/var/log/one'

module.exports = {
  serverConfig: `${etc}/fireedge-server.conf`,
  sunstoneConfig: `${etc}/fireedge/sunstone/sunstone-server.conf`,
  sunstoneAuth: `${variable}/.one/sunstone_auth`,
  key: `${variable}/.one/fireedge_key`,
  log: `${logs}/fireedge.log`,
  drivers: `${etc}/vmm_exec`,
  probes: `${variable}/remotes/etc/im`,
}
