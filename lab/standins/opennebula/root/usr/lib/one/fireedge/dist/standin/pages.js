// The one page behind every /fireedge/sunstone path: a login form, then a dashboard, the hosts and the VMs. It is drawn in
// the browser from the API's answers alone; nothing is loaded from elsewhere, and every text is set as text.
'use strict'

const { VERSION } = require('./log')

const STYLE = `
:root { --ink: #16202b; --soft: #5b6b7b; --line: #dde4ea; --ground: #f4f7f9; --accent: #0b6f8f; --good: #1d7f4e; --bad: #b3261e; --wait: #8a6100 }
* { box-sizing: border-box }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "DejaVu Sans", sans-serif }
.notice { background: #fff5d6; border-bottom: 1px solid #ecd58a; color: #5c4400; padding: 8px 24px; font-size: 13px }
header { align-items: center; background: #fff; border-bottom: 1px solid var(--line); display: flex; gap: 28px; padding: 0 24px; height: 56px }
header strong { font-size: 17px } nav { display: flex; gap: 4px; flex: 1; height: 100% }
nav a { align-items: center; border-bottom: 3px solid transparent; color: var(--soft); display: flex; padding: 3px 12px 0; text-decoration: none }
nav a.here { border-color: var(--accent); color: var(--ink); font-weight: 600 }
main { margin: 0 auto; max-width: 1080px; padding: 28px 24px } h1 { font-size: 22px; margin: 0 0 18px }
button { background: var(--accent); border: 0; border-radius: 6px; color: #fff; cursor: pointer; font: inherit; padding: 8px 16px }
button.plain { background: none; color: var(--accent) }
.login { background: #fff; border: 1px solid var(--line); border-radius: 10px; margin: 9vh auto 0; max-width: 380px; padding: 28px }
.login label { display: block; font-size: 13px; font-weight: 600; margin-bottom: 14px }
.login input { border: 1px solid #b9c5d0; border-radius: 6px; display: block; font: inherit; margin-top: 4px; padding: 8px 10px; width: 100% }
.login button { width: 100% } .error { color: var(--bad); margin: 12px 0 0; min-height: 22px }
.cards { display: grid; gap: 16px; grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)) }
.card { background: #fff; border: 1px solid var(--line); border-radius: 10px; color: inherit; padding: 18px 20px; text-decoration: none }
.card b { display: block; font-size: 32px; line-height: 1.2 } .card span { color: var(--soft) }
table { background: #fff; border: 1px solid var(--line); border-collapse: collapse; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: 10px 14px; text-align: left } th { color: var(--soft); font-size: 13px; font-weight: 600 }
.state { border-radius: 10px; font-size: 13px; font-weight: 600; padding: 2px 10px }
.good { background: #e2f4ea; color: var(--good) } .bad { background: #fce8e6; color: var(--bad) } .wait { background: #fdf1d3; color: var(--wait) }
.empty { color: var(--soft) }
`

/** Runs in the browser: sent as text, never called here. */
function client() {
  const HOSTS = ['INIT', 'UPDATE', 'MONITORED', 'ERROR', 'DISABLED', 'RETRY', 'INIT', 'DISABLED', 'OFFLINE']
  const VMS = { 0: 'INIT', 1: 'PENDING', 2: 'HOLD', 4: 'STOPPED', 5: 'SUSPENDED', 6: 'DONE', 8: 'POWEROFF', 9: 'UNDEPLOYED', 10: 'CLONING', 11: 'CLONING_FAILURE' }
  const LCM = { 0: 'LCM_INIT', 1: 'PROLOG', 2: 'BOOT', 3: 'RUNNING', 12: 'SHUTDOWN', 16: 'UNKNOWN', 36: 'BOOT_FAILURE', 39: 'PROLOG_FAILURE' }
  const GOOD = ['MONITORED', 'RUNNING']
  const root = document.getElementById('root')
  const list = (value) => (value === undefined || value === '' ? [] : [].concat(value))

  function node(tag, attributes, ...children) {
    const element = document.createElement(tag)
    for (const [name, value] of Object.entries(attributes ?? {})) {
      if (name.startsWith('on')) element.addEventListener(name.slice(2), value)
      else element.setAttribute(name, value)
    }
    element.append(...children)
    return element
  }

  async function api(path, options) {
    const response = await fetch(`/fireedge/api/${path}`, options)
    const content = await response.json().catch(() => ({}))
    if (response.status === 401 && path !== 'auth') throw { login: true }
    if (!response.ok) throw new Error(content.data || content.message || `status ${response.status}`)
    return content.data
  }

  const send = (path, content) =>
    api(path, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(content) })

  function go(path) {
    history.pushState(null, '', path)
    draw()
  }

  function link(path, name) {
    const here = location.pathname.startsWith(path)
    return node('a', { href: path, class: here ? 'here' : '', onclick: (event) => (event.preventDefault(), go(path)) }, name)
  }

  function login() {
    const user = node('input', { type: 'text', autocomplete: 'username', required: '' })
    const password = node('input', { type: 'password', autocomplete: 'current-password', required: '' })
    const error = node('p', { class: 'error', role: 'alert' })
    const submit = async (event) => {
      event.preventDefault()
      error.textContent = ''
      try {
        await send('auth', { user: user.value, token: password.value })
        go('/fireedge/sunstone/dashboard')
      } catch (failure) {
        error.textContent = `Login failed: ${failure.message}`
      }
    }
    const fields = [node('label', null, 'Username', user), node('label', null, 'Password', password)]
    root.replaceChildren(node('form', { class: 'login', onsubmit: submit }, node('h1', null, 'OpenNebula Sunstone'), ...fields, node('button', { type: 'submit' }, 'Sign in'), error))
    user.focus()
  }

  function badge(state) {
    const kind = GOOD.includes(state) ? 'good' : /ERROR|FAILURE|UNKNOWN/.test(state) ? 'bad' : 'wait'
    return node('span', { class: `state ${kind}` }, state)
  }

  function table(name, titles, rows) {
    if (!rows.length) return node('p', { class: 'empty' }, `No ${name} yet.`)
    const head = node('tr', null, ...titles.map((title) => node('th', { scope: 'col' }, title)))
    const body = rows.map((cells) => node('tr', null, ...cells.map((cell) => node('td', null, cell))))
    return node('table', { id: name }, node('thead', null, head), node('tbody', null, ...body))
  }

  const hosts = async () => list((await api('hostpool/info')).HOST_POOL?.HOST)
  const vms = async () => list((await api('vmpool/info')).VM_POOL?.VM)
  const used = (share, kind) => `${share?.[`${kind}_USAGE`] ?? 0} / ${share?.[`TOTAL_${kind}`] ?? share?.[`MAX_${kind}`] ?? 0}`
  const gigabytes = (kilobytes) => `${(Number(kilobytes || 0) / 1048576).toFixed(1)} GB`

  const PAGES = {
    dashboard: ['Dashboard', async () => {
      const [machines, guests] = await Promise.all([hosts(), vms().catch((error) => (error.login ? Promise.reject(error) : null))])
      const card = (path, count, text) => node('a', { class: 'card', href: path, onclick: (event) => (event.preventDefault(), go(path)) }, node('b', null, String(count)), node('span', null, text))
      const monitored = machines.filter((host) => host.STATE === '2').length
      return node('div', { class: 'cards' },
        card('/fireedge/sunstone/host', machines.length, 'Hosts'),
        card('/fireedge/sunstone/host', monitored, 'Hosts monitored'),
        card('/fireedge/sunstone/vm', guests ? guests.length : 'n/a', 'Virtual machines'))
    }],
    host: ['Hosts', async () => table('hosts', ['ID', 'Name', 'Cluster', 'Driver', 'CPU', 'Memory', 'VMs', 'State'], (await hosts()).map((host) => [
      host.ID, host.NAME, host.CLUSTER, host.VM_MAD, used(host.HOST_SHARE, 'CPU'), gigabytes(host.HOST_SHARE?.TOTAL_MEM ?? host.HOST_SHARE?.MAX_MEM),
      host.HOST_SHARE?.RUNNING_VMS ?? '0', badge(HOSTS[Number(host.STATE)] ?? host.STATE)]))],
    vm: ['Virtual machines', async () => table('vms', ['ID', 'Name', 'Owner', 'Host', 'State'], (await vms()).map((vm) => [
      vm.ID, vm.NAME, vm.UNAME, list(vm.HISTORY_RECORDS?.HISTORY).pop()?.HOSTNAME ?? '',
      badge(vm.STATE === '3' ? LCM[vm.LCM_STATE] ?? `ACTIVE ${vm.LCM_STATE}` : VMS[vm.STATE] ?? vm.STATE)]))],
  }

  async function draw() {
    const [title, content] = PAGES[location.pathname.split('/')[3]] ?? PAGES.dashboard
    try {
      const { USER } = await api('user/info')
      const header = node('header', null, node('strong', null, 'OpenNebula'),
        node('nav', null, ...Object.entries(PAGES).map(([name, [text]]) => link(`/fireedge/sunstone/${name}`, text))),
        node('span', null, USER.NAME),
        node('button', { class: 'plain', onclick: async () => { await send('auth/logout', {}); login() } }, 'Sign out'))
      let view
      try {
        view = await content()
      } catch (error) {
        if (error.login) throw error
        view = node('p', { class: 'error', role: 'alert' }, error.message)
      }
      root.replaceChildren(header, node('main', null, node('h1', null, title), view))
    } catch (error) {
      login()
    }
  }

  addEventListener('popstate', draw)
  draw()
}

function page() {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Sunstone by OpenNebula (rehearsal stand-in)</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<style>${STYLE}</style>
</head>
<body>
<div class="notice">Rehearsal stand-in for OpenNebula FireEdge ${VERSION}: it shows what oned answers. It is not OpenNebula's own interface.</div>
<div id="root"></div>
<script>(${client.toString()})()</script>
</body>
</html>
`
}

module.exports = { page }
