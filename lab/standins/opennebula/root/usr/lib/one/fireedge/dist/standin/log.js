// The log file in winston's shape as the real one sets it up (utils/logger.js), and coloured lines on stdout.
'use strict'

const fs = require('fs')
const path = require('path')
const paths = require('./paths')

const VERSIONS = { 7.4: '7.4.0', '6.10': '6.10.5' }
const VERSION_FILE = path.join(__dirname, '../../../standin/VERSION') // oned's part of the tree reads it as well
const VERSION = version()
const BANNER = `OpenNebula ${VERSION} FireEdge rehearsal stand-in`
const LEVELS = ['error', 'warm', 'info', 'http', 'verbose', 'debug'] // "warm" is the real one's own word
const COLOURS = { green: '\x1b[32m', red: '\x1b[31m', yellow: '\x1b[33m' }

let limit = 0
let longest = 150
let file = null

function version() {
  const wanted = (process.env.ONE_STANDIN_VERSION || (fs.existsSync(VERSION_FILE) ? fs.readFileSync(VERSION_FILE, 'utf8') : '7.4')).trim()
  const found = VERSIONS[wanted.split('.').slice(0, 2).join('.')]
  if (!found) throw new Error(`ONE_STANDIN_VERSION or ${VERSION_FILE} says ${wanted}; this stand-in knows ${Object.keys(VERSIONS).join(' and ')}`)
  return found
}

function terminal(colour, text) {
  console.log(COLOURS[colour], text, '\x1b[0m')
}

/** Throws when the log directory cannot be written: the real one's file transport does, too. */
function openLog(config) {
  limit = config.debug_level
  longest = config.truncate_max_length
  fs.mkdirSync(path.dirname(paths.log), { recursive: true })
  file = fs.openSync(paths.log, 'a')
}

function log(message, level = 0) {
  if (file === null || level > limit) return
  let text = String(message)
  if (longest !== -1 && text.length > longest) text = `${text.slice(0, longest - 3)}...`
  fs.writeSync(file, `[${new Date().toISOString()}] - [${LEVELS[level]}] ${text}\n`)
}

module.exports = { VERSION, BANNER, terminal, openLog, log }
