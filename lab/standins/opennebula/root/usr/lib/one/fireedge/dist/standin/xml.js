// XML to objects as the real one's parser gives them: repeated elements become arrays, text stays text, attributes are
// left out (oned has none that matter here).
'use strict'

const ENTITIES = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'" }

function unescape(text) {
  return text.replace(/&(#x?[0-9a-fA-F]+|\w+);/g, (whole, name) => {
    if (name[0] === '#') {
      const code = name[1] === 'x' ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10)
      return String.fromCodePoint(code)
    }
    return ENTITIES[name] ?? whole
  })
}

const escape = (text) => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;').replace(/>/g, '&gt;')

/** {root: value}. Throws for text that is not one element. */
function parse(xml) {
  const top = { children: {}, text: '', name: null }
  const stack = [top]
  const pattern = /<!\[CDATA\[([\s\S]*?)\]\]>|<\?[\s\S]*?\?>|<!--[\s\S]*?-->|<(\/?)([\w.:-]+)([^>]*?)(\/?)>|([^<]+)/g
  let at = 0
  for (const match of xml.matchAll(pattern)) {
    if (match.index !== at) throw new Error(`not XML at ${at}`)
    at += match[0].length
    const current = stack[stack.length - 1]
    if (match[1] !== undefined) current.text += match[1]
    else if (match[6] !== undefined) current.text += unescape(match[6])
    else if (match[3] !== undefined && match[2]) {
      if (current.name !== match[3]) throw new Error(`</${match[3]}> closes <${current.name}>`)
      stack.pop()
      add(stack[stack.length - 1].children, match[3], finish(current))
    } else if (match[3] !== undefined && match[5]) add(current.children, match[3], '')
    else if (match[3] !== undefined) stack.push({ children: {}, text: '', name: match[3] })
  }
  if (stack.length !== 1 || at !== xml.length || !Object.keys(top.children).length) throw new Error('not a whole XML document')
  return top.children
}

function finish(node) {
  return Object.keys(node.children).length ? node.children : node.text.trim()
}

function add(children, name, value) {
  if (!Object.hasOwn(children, name)) children[name] = value
  else if (Array.isArray(children[name])) children[name].push(value)
  else children[name] = [children[name], value]
}

const asList = (value) => (value === undefined || value === '' ? [] : Array.isArray(value) ? value : [value])

module.exports = { parse, escape, asList }
