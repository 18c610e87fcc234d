// The part of YAML that FireEdge's two files use: block mappings, block lists, plain and quoted scalars, and flow
// collections on one line. Anything else (anchors, tags, block scalars, tabs, a key twice) is refused with its line.
'use strict'

class YamlError extends Error {
  constructor(line, text) {
    super(`line ${line}: ${text}`)
  }
}

function parse(text) {
  const rows = []
  text.split('\n').forEach((raw, index) => {
    const line = index + 1
    const content = uncomment(raw, line).trimEnd()
    if (content.trim() === '' || content === '---') return
    if (/^ *\t/.test(content)) throw new YamlError(line, 'a tab cannot indent')
    const indent = content.length - content.trimStart().length
    rows.push({ line, indent, content: content.trimStart() })
  })
  if (!rows.length) return {}
  const [value, next] = block(rows, 0, rows[0].indent)
  if (next < rows.length) throw new YamlError(rows[next].line, 'indentation fits no mapping above')
  return value
}

/** A `#` after a blank or at the start begins a comment, except inside quotes. */
function uncomment(raw, line) {
  let quote = null
  for (let at = 0; at < raw.length; at++) {
    const char = raw[at]
    if (quote) {
      if (char === '\\' && quote === '"') at++
      else if (char === quote) quote = null
    } else if ((char === '"' || char === "'") && /(^|[\s:[{,-])$/.test(raw.slice(0, at))) quote = char
    else if (char === '#' && (at === 0 || /\s/.test(raw[at - 1]))) return raw.slice(0, at)
  }
  if (quote) throw new YamlError(line, `the quote ${quote} is not closed on its line`)
  return raw
}

function block(rows, start, indent) {
  return rows[start].content === '-' || rows[start].content.startsWith('- ')
    ? list(rows, start, indent)
    : mapping(rows, start, indent)
}

function list(rows, start, indent) {
  const items = []
  let at = start
  while (at < rows.length && rows[at].indent === indent && /^-( |$)/.test(rows[at].content)) {
    const rest = rows[at].content.slice(1).trim()
    if (rest === '' || /^[^'"[{][^'"]*:( |$)/.test(rest)) {
      throw new YamlError(rows[at].line, 'only lists of scalars are understood here')
    }
    items.push(scalar(rest, rows[at].line))
    at++
  }
  return [items, at]
}

function mapping(rows, start, indent) {
  const result = {}
  let at = start
  while (at < rows.length && rows[at].indent === indent) {
    const { line, content } = rows[at]
    const match = /^("[^"]*"|'[^']*'|[^\s'"#&*!|>%@`[\]{},-][^:]*?)\s*:(?:\s+(.*))?$/.exec(content)
    if (!match) throw new YamlError(line, `"key: value" expected, got "${content}"`)
    const key = /^['"]/.test(match[1]) ? match[1].slice(1, -1) : match[1]
    if (Object.hasOwn(result, key)) throw new YamlError(line, `key "${key}" is there twice`)
    at++
    if (match[2] !== undefined && match[2] !== '') {
      result[key] = scalar(match[2], line)
    } else if (at < rows.length && (rows[at].indent > indent || (rows[at].indent === indent && /^-( |$)/.test(rows[at].content)))) {
      ;[result[key], at] = block(rows, at, rows[at].indent)
    } else {
      result[key] = null
    }
  }
  if (at < rows.length && rows[at].indent > indent) throw new YamlError(rows[at].line, 'unexpected indentation')
  return [result, at]
}

function scalar(text, line) {
  if (text[0] === '[' || text[0] === '{') return flow(text, line)
  if (text[0] === '"') return doubleQuoted(text, line)
  if (text[0] === "'") {
    if (!/^'([^']|'')*'$/.test(text)) throw new YamlError(line, `text after the closing quote: ${text}`)
    return text.slice(1, -1).replace(/''/g, "'")
  }
  if (/^[&*!|>%@`]/.test(text)) throw new YamlError(line, `"${text[0]}" is not understood here: quote the value`)
  if (/:(\s|$)/.test(text)) throw new YamlError(line, `": " inside a plain value: quote it`)
  return plain(text)
}

function doubleQuoted(text, line) {
  try {
    const value = JSON.parse(text)
    if (typeof value === 'string') return value
  } catch {
    // falls through to the error below
  }
  throw new YamlError(line, `not a quoted text: ${text}`)
}

/** YAML 1.2 core schema, as the real one's parser: `120_000` stays a text. */
function plain(text) {
  if (/^(~|null|Null|NULL)$/.test(text)) return null
  if (/^(true|True|TRUE)$/.test(text)) return true
  if (/^(false|False|FALSE)$/.test(text)) return false
  if (/^[-+]?[0-9]+$/.test(text) || /^[-+]?[0-9]*\.[0-9]+([eE][-+]?[0-9]+)?$/.test(text)) return Number(text)
  return text
}

/** One-line flow collections in JSON's notation, or with plain words. */
function flow(text, line) {
  let at = 0
  const fail = () => {
    throw new YamlError(line, `not a flow collection: ${text}`)
  }
  const blank = () => {
    while (text[at] === ' ') at++
  }
  const value = () => {
    blank()
    if (text[at] === '[') return sequence(']', () => value())
    if (text[at] === '{') return Object.fromEntries(sequence('}', pair))
    const match = /^("(?:[^"\\]|\\.)*"|'(?:[^']|'')*'|[^\s,\]{}[:][^,\]{}[:]*(?::[^\s,\]}][^,\]{}[:]*)*)/.exec(text.slice(at))
    if (!match) fail()
    at += match[0].length
    return scalar(match[0].trim(), line)
  }
  const pair = () => {
    const key = value()
    blank()
    if (text[at] !== ':') fail()
    at++
    return [String(key), value()]
  }
  const sequence = (close, item) => {
    const items = []
    at++
    blank()
    while (text[at] !== close) {
      items.push(item())
      blank()
      if (text[at] === ',') at++
      else if (text[at] !== close) fail()
      blank()
    }
    at++
    return items
  }
  const result = value()
  blank()
  if (at !== text.length) fail()
  return result
}

module.exports = { parse, YamlError }
