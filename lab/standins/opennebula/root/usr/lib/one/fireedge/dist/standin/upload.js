// multipart/form-data into `tmpdir`, as multer does: a random name of 32 hex digits, and the field must be `files`.
'use strict'

const crypto = require('crypto')
const fs = require('fs')
const path = require('path')

const refused = (status, message) => Object.assign(new Error(message), { status })

/** Paths of the stored files. The body is scanned as it comes, so a file of any size costs no memory. */
async function saveUploads(request, { tmpdir, max_upload_file_size: limit }) {
  const boundary = /^multipart\/form-data;.*boundary="?([^";]+)"?/.exec(request.headers['content-type'] ?? '')?.[1]
  if (!boundary) throw refused(400, 'Bad Request')
  const mark = Buffer.from(`\r\n--${boundary}`)
  const stored = []
  let buffer = Buffer.from('\r\n') // the first boundary has no line before it
  let part = null // {descriptor, size} of the file being written; descriptor null for a field that is no file
  const drop = () => {
    if (part?.descriptor) fs.closeSync(part.descriptor)
    stored.forEach((file) => fs.rmSync(file, { force: true }))
  }
  const write = (chunk) => {
    if (!part?.descriptor) return
    part.size += chunk.length
    if (limit && part.size > limit) throw refused(400, 'File too large')
    fs.writeSync(part.descriptor, chunk)
  }
  const open = (header) => {
    const file = /name="([^"]*)"; filename="/.exec(header)
    if (!file) return { descriptor: null, size: 0 }
    if (file[1] !== 'files') throw refused(400, 'Unexpected field')
    const target = path.join(tmpdir, crypto.randomBytes(16).toString('hex'))
    const descriptor = fs.openSync(target, 'wx', 0o644)
    stored.push(target)
    return { descriptor, size: 0 }
  }
  try {
    for await (const chunk of request) {
      buffer = Buffer.concat([buffer, chunk])
      for (;;) {
        const at = buffer.indexOf(mark)
        if (at < 0) {
          const keep = Math.min(buffer.length, mark.length)
          if (part) write(buffer.subarray(0, buffer.length - keep))
          if (part) buffer = buffer.subarray(buffer.length - keep)
          break
        }
        const end = buffer.indexOf('\r\n\r\n', at)
        const last = buffer.subarray(at + mark.length, at + mark.length + 2).toString() === '--'
        if (end < 0 && !last) break // the header of the next part is not whole yet
        write(buffer.subarray(0, at))
        if (part?.descriptor) fs.closeSync(part.descriptor)
        part = null
        if (last) {
          if (!stored.length) throw refused(400, 'Bad Request')
          request.resume()
          return stored
        }
        part = open(buffer.subarray(at, end).toString())
        buffer = buffer.subarray(end + 4)
      }
    }
    throw refused(400, 'Unexpected end of form')
  } catch (error) {
    drop()
    throw error
  }
}

module.exports = { saveUploads }
