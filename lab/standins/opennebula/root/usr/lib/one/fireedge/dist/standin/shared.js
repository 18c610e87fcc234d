// Files of oned's package that FireEdge reads on its own machine (utils/config.js, utils/vmm.js).
'use strict'

const fs = require('fs')
const path = require('path')
const paths = require('./paths')

/** Text by hypervisor. Throws when nothing of the kind is there. */
function forecasts() {
  const names = fs
    .readdirSync(paths.probes, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && entry.name.endsWith('-probes.d'))
    .map(({ name }) => name)
  if (!names.length) throw new Error('No forecast configuration files found')
  const files = names.map((name) => [name.replace('-probes.d', ''), path.join(paths.probes, name, 'forecast.conf')])
  const there = files.filter(([, file]) => fs.existsSync(file))
  return Object.fromEntries(there.map(([hypervisor, file]) => [hypervisor, fs.readFileSync(file, 'utf8')]))
}

/** Attributes of vmm_exec_<hypervisor>.conf as text, one a line. Throws when there is no such file. */
function driver(hypervisor) {
  const lines = fs.readFileSync(path.join(paths.drivers, `vmm_exec_${hypervisor}.conf`), 'utf8').split('\n')
  const found = lines.map((line) => /^\s*([A-Za-z0-9_]+)\s*=\s*(.*)$/.exec(line)).filter(Boolean)
  return Object.fromEntries(found.map(([, key, value]) => [key, value.trim()]))
}

module.exports = { forecasts, driver }
