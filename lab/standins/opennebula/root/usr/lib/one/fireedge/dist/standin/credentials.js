// sunstone_auth, fireedge_key, the server_cipher token and the JSON Web Token.
'use strict'

const crypto = require('crypto')
const fs = require('fs')
const paths = require('./paths')
const { terminal, log } = require('./log')

let key = ''

/** The unit of the real package asserts that this file is not empty; the process itself would fail at each login. */
function requireSunstoneAuth() {
  let content = ''
  try {
    content = fs.readFileSync(paths.sunstoneAuth, 'utf8')
  } catch (error) {
    throw new Error(`${paths.sunstoneAuth}: ${error.message}`)
  }
  if (content === '') throw new Error(`${paths.sunstoneAuth} is empty`)
}

/** Name, AES key and initialisation vector of serveradmin (getSunstoneAuth in utils/server.js); read at each use. */
function serveradmin() {
  try {
    const [username, password] = fs.readFileSync(paths.sunstoneAuth, 'utf8').split(':')
    if (!username || !password) return null
    const digest = crypto.createHash('sha256').update(password.replace(/\r|\n/g, '')).digest('hex')
    return { username, key: digest.slice(0, 32), iv: digest.slice(0, 16) }
  } catch (error) {
    log(error.message)
    return null
  }
}

function encrypt(text, aesKey, iv) {
  const cipher = crypto.createCipheriv('aes-256-cbc', aesKey, iv)
  return cipher.update(text, 'ascii', 'base64') + cipher.final('base64')
}

function decrypt(base64, aesKey, iv) {
  const decipher = crypto.createDecipheriv('aes-256-cbc', aesKey, iv)
  return decipher.update(base64, 'base64', 'utf8') + decipher.final('utf8')
}

/** genFireedgeKey: the file as it is, without trimming; a new one when there is none; an empty one is not filled. */
function loadKey() {
  key = crypto.randomUUID().replace(/-/g, '').toUpperCase()
  let content
  try {
    content = fs.readFileSync(paths.key, 'utf8')
  } catch {
    fs.createWriteStream(paths.key).write(key)
    log(`file ${paths.key} created`, 2)
    terminal('green', `file ${paths.key} created`)
    return
  }
  if (content) key = content
  if (key.length !== 32) log(`${paths.key} is not 32 characters long: consoles cannot work`)
}

const fireedgeKey = () => key
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
const signature = (text) => crypto.createHmac('sha256', key).update(text).digest('base64url')

function signJwt(payload) {
  const text = `${encode({ typ: 'JWT', alg: 'HS256' })}.${encode(payload)}`
  return `${text}.${signature(text)}`
}

/** The payload, or null for a token that this key did not sign. */
function verifyJwt(token) {
  const parts = String(token).split('.')
  if (parts.length !== 3) return null
  const expected = Buffer.from(signature(`${parts[0]}.${parts[1]}`))
  const given = Buffer.from(parts[2])
  if (expected.length !== given.length || !crypto.timingSafeEqual(expected, given)) return null
  try {
    return JSON.parse(Buffer.from(parts[1], 'base64url').toString('utf8'))
  } catch {
    return null
  }
}

module.exports = { requireSunstoneAuth, serveradmin, encrypt, decrypt, loadKey, fireedgeKey, signJwt, verifyJwt }
