// fireedge-server.conf and sunstone-server.conf, checked key by key.
//
// Stricter than the real one on purpose: that prints an error about a missing or broken file and goes on with its
// defaults (utils/yml.js readYAMLFile), and it ignores a key that it does not know. A rehearsal stops.
'use strict'

const fs = require('fs')
const paths = require('./paths')
const { parse } = require('./yaml')

const text = (value) => typeof value === 'string'
const flag = (value) => typeof value === 'boolean'
const whole = (value) => Number.isInteger(value)
const port = (value) => whole(value) && value > 0 && value < 65536
const url = (value) => text(value) && /^https?:\/\/[^ "]+$/.test(value)
const zeromq = (value) => text(value) && /^tcp:\/\/[^ ":]+:\d+$/.test(value)
const duration = (value) => whole(value) || /^\d+(_\d+)*$/.test(value)
const any = () => true

const SERVER = {
  log: (value) => ['prod', 'dev'].includes(value),
  cors: flag,
  host: text,
  port,
  one_xmlrpc: url,
  oneflow_server: url,
  oneform_server: url,
  oneks_server: url,
  namespace: (value) => value === 'one', // of the API's method names
  TWO_FACTOR_AUTH_ISSUER: text,
  oneprovision_prepend_command: text, // 6.10
  oneprovision_optional_create_command: text, // 6.10
  session_expiration: whole,
  session_remember_expiration: whole,
  minimum_opennebula_expiration: whole,
  subscriber_endpoint: zeromq,
  debug_level: (value) => whole(value) && value >= 0 && value <= 5,
  truncate_max_length: whole,
  api_timeout: duration,
  guacd: { port, host: text },
  default_zone: { id: whole, name: text, endpoint: url },
  auth: (value) => ['opennebula', 'remote', 'x509', 'saml'].includes(value),
  auth_redirect: text,
}

const SUNSTONE = {
  support_url: text,
  sunstone_prepend: text,
  tmpdir: text,
  max_upload_file_size: whole,
  proxy: text,
  token_remote_support: text,
  enforce_2fa: flag,
  keep_me_logged: flag,
  leases: any,
  supported_fs: Array.isArray,
  use_extended_vmpool: flag,
  currency: text,
  default_lang: text,
  langs: any,
  rowStyle: text,
  fullViewMode: any,
  currentTimeZone: text,
  vcenter_prepend_command: text, // 6.10
}

/** What the real one takes for keys that are absent (utils/constants/defaults.js). */
const DEFAULTS = {
  cors: false,
  host: '0.0.0.0',
  port: 2616,
  oneflow_server: 'http://localhost:2474',
  session_expiration: 180,
  minimum_opennebula_expiration: 30,
  debug_level: 0,
  truncate_max_length: 100,
  auth: 'opennebula',
}

function check(file, values, grammar, prefix = '') {
  if (values === null || typeof values !== 'object' || Array.isArray(values)) {
    throw new Error(`${file}: ${prefix || 'the file'} is not a mapping`)
  }
  for (const [key, value] of Object.entries(values)) {
    const rule = Object.hasOwn(grammar, key) ? grammar[key] : undefined
    const name = `${prefix}${key}`
    if (rule === undefined) throw new Error(`${file}: unknown key "${name}"`)
    if (typeof rule === 'object') check(file, value, rule, `${name}.`)
    else if (!rule(value)) throw new Error(`${file}: ${name} cannot be ${JSON.stringify(value)}`)
  }
}

function read(file, grammar) {
  let values
  try {
    values = parse(fs.readFileSync(file, 'utf8'))
  } catch (error) {
    throw new Error(`${file}: ${error.message}`)
  }
  check(file, values, grammar)
  return values
}

function loadConfigs() {
  const server = { ...DEFAULTS, ...read(paths.serverConfig, SERVER) }
  server.guacd = { port: 4822, host: 'localhost', ...server.guacd }
  const sunstone = { tmpdir: '/tmp', ...read(paths.sunstoneConfig, SUNSTONE) }
  return { server, sunstone }
}

module.exports = { loadConfigs }
