// Logins: the token of serveradmin for a user, the cookie, and the sessions, which live in this process only.
//
// A signed token alone is not enough (validateUser in Api/middlewares.js): after a restart, or at another replica,
// everybody is logged out.
'use strict'

const { call, Unreachable } = require('./oned')
const { serveradmin, encrypt, signJwt, verifyJwt } = require('./credentials')

const COOKIE = 'FireedgeToken'
const store = new Map() // "serveradmin:NAME" -> [{token, expires}]
const seen = new Map() // "serveradmin:NAME" -> {resource: last id asked for}, which a hook subscription needs

const now = () => Math.floor(Date.now() / 1000)

/** Throws {status, message} as the API answers it. */
async function login(endpoint, config, { user, token }) {
  if (!user || !token) throw { status: 401, message: 'core user not found' }
  let found
  try {
    found = await call(endpoint, `${user}:${token}`, 'user.info', [-1, false])
  } catch (error) {
    if (error instanceof Unreachable) throw { status: 500, message: 'Internal Server Error' }
    throw error
  }
  if (!found?.USER) throw { status: 401, message: 'core user not found' }
  return openSession(endpoint, config, found.USER)
}

async function openSession(endpoint, config, user) {
  const failed = { status: 500, message: 'Internal Server Error' }
  const admin = serveradmin()
  if (!admin) throw failed
  const expires = now() + config.session_expiration * 60
  const session = `${admin.username}:${admin.username}:${encrypt(`${admin.username}:${admin.username}:${expires}`, admin.key, admin.iv)}`
  let answer
  try {
    answer = await call(endpoint, session, 'user.info', [-1, false])
  } catch {
    throw failed
  }
  // The password that oned holds is the key of the user's token: a wrong sunstone_auth ends here, with a 500.
  const { NAME: name, PASSWORD: password } = answer?.USER ?? {}
  if (!name || !password) throw failed
  const owner = `${name}:${user.NAME}`
  const entry = reusable(owner, config) ?? {
    token: encrypt(`${name}:${user.NAME}:${expires}`, password.slice(0, 32), password.slice(0, 16)),
    expires,
  }
  store.set(owner, [...(store.get(owner) ?? []), entry])
  return { jwt: signJwt({ iss: user.ID, aud: owner, jti: entry.token }), expires: entry.expires }
}

function reusable(owner, config) {
  const alive = (store.get(owner) ?? []).filter((entry) => entry.expires > now())
  store.set(owner, alive)
  const margin = config.minimum_opennebula_expiration * 60
  return alive.filter((entry) => entry.expires - margin > now()).sort((a, b) => b.expires - a.expires)[0]
}

function cookieHeader({ jwt, expires }) {
  const seconds = Math.max(0, expires - now())
  const value = encodeURIComponent(JSON.stringify({ token: jwt }))
  const until = new Date(expires * 1000).toUTCString()
  return `${COOKIE}=${value}; Max-Age=${seconds}; Path=/; Expires=${until}; HttpOnly; SameSite=Lax`
}

const clearedCookie = () => `${COOKIE}=; Path=/; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; SameSite=Lax`

/** {iss, aud, jti} of the request's cookie when this process's key signed it, else null. */
function payload(request) {
  const cookies = (request.headers.cookie ?? '').split(';').map((part) => part.trim())
  const encoded = cookies.find((part) => part.startsWith(`${COOKIE}=`))?.slice(COOKIE.length + 1)
  if (!encoded) return null
  try {
    const claims = verifyJwt(JSON.parse(decodeURIComponent(encoded)).token)
    return claims?.iss && claims.aud && claims.jti ? claims : null
  } catch {
    return null
  }
}

const alive = ({ aud, jti }) => (store.get(aud) ?? []).some(({ token, expires }) => token === jti && expires > now())

function logout(request) {
  const claims = payload(request)
  const entries = store.get(claims?.aud) ?? []
  // One entry only: logins that share a token, as `reusable` lets them, stay (utils/sessions.js removeUserSession).
  const at = entries.map(({ token }) => token).lastIndexOf(claims?.jti)
  if (at >= 0) entries.splice(at, 1)
}

const remember = (owner, resource, id) => seen.set(owner, { ...seen.get(owner), [resource]: id })
const mayFollow = (owner, resource, id) => id !== null && seen.get(owner)?.[resource] === Number(id)

module.exports = { login, logout, cookieHeader, clearedCookie, payload, alive, remember, mayFollow }
