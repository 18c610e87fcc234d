// The part of the real route table (utils/constants/commands) that this stand-in answers: METHOD, and each parameter of
// the API call in its order with where it comes from and what it is when absent. The type of the default is the type.
//
// One difference: the real one sends a `zone` argument that oned's pool calls do not have; it is left out here.
'use strict'

const id = ['resource', -1]
const decrypt = ['query', false]
const body = (value) => ['body', value]
const page = { filter: ['query', -2], start: ['query', -1], end: ['query', -1] }

module.exports = {
  'user.info': ['GET', { id, decrypt }],
  'host.info': ['GET', { id, decrypt }],
  'hostpool.info': ['GET', {}],
  'clusterpool.info': ['GET', {}],
  'datastore.info': ['GET', { id, decrypt }],
  'datastorepool.info': ['GET', {}],
  'zone.info': ['GET', { id, decrypt }],
  'zonepool.info': ['GET', {}],
  'system.version': ['GET', {}],
  'vm.allocate': ['PUT', { template: body(''), status: body(false) }],
  'vm.action': ['PUT', { action: body('stop'), id }],
  'vm.info': ['GET', { id, decrypt }],
  'vmpool.info': ['GET', { ...page, state: ['query', -1] }],
  'template.allocate': ['PUT', { template: body('') }],
  'template.instantiate': [
    'PUT',
    { id, name: body(''), hold: body(false), template: body(''), persistent: body(false) },
  ],
  'template.info': ['GET', { id, extended: ['query', false], decrypt }],
  'templatepool.info': ['GET', page],
  'image.allocate': ['POST', { template: body(''), datastore: body(0), capacity: body(false) }],
  'image.info': ['GET', { id, decrypt }],
  'imagepool.info': ['GET', page],
}
