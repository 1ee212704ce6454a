// The cases of the bench: a schema and a function that makes its n-th document.
// One document in ten breaks its schema, each time in another way.
'use strict';

const DRAFT = 'https://json-schema.org/draft/2020-12/schema';

// A small generator of its own, so that both sides and all runs see the same documents.
let state = 1;
function random(limit) {
  state = (state * 1103515245 + 12345) % 2147483648;
  return Math.floor(state / 2147483648 * limit);
}
const pick = (list) => list[random(list.length)];
const text = (length) => Array.from({length}, () => 'abcdefghijklmnopqrstuvwxyz'[random(26)]).join('');

const event = {
  schema: {
    $schema: DRAFT,
    type: 'object',
    required: ['id', 'type', 'actor', 'created_at', 'amount'],
    properties: {
      id: {type: 'integer', minimum: 1},
      type: {enum: ['push', 'fork', 'watch', 'issue', 'comment']},
      actor: {type: 'string', minLength: 1, maxLength: 40},
      created_at: {type: 'string', minLength: 20, maxLength: 20},
      amount: {type: 'number', minimum: 0, maximum: 1000000},
      public: {type: 'boolean'},
      note: {type: ['string', 'null']},
    },
    additionalProperties: false,
  },
  document(n) {
    const document = {
      id: n + 1, type: pick(['push', 'fork', 'watch', 'issue', 'comment']), actor: text(3 + random(12)),
      created_at: '2026-11-19T12:00:00Z', amount: random(100000) / 100, public: random(2) === 1,
      note: random(3) === 0 ? null : text(20),
    };
    if (n % 10 === 0) Object.assign(document, pick([{id: 0}, {type: 'none'}, {amount: -1}, {extra: 1}, {actor: ''}]));
    return document;
  },
};

const order = {
  schema: {
    $schema: DRAFT,
    type: 'object',
    required: ['order_id', 'customer', 'lines', 'status', 'shipping'],
    properties: {
      order_id: {type: 'string', pattern: '^[A-Z]{2}-[0-9]{6}$'},
      status: {enum: ['new', 'paid', 'sent', 'returned']},
      customer: {
        type: 'object',
        required: ['id', 'email'],
        properties: {
          id: {type: 'integer', minimum: 1},
          email: {type: 'string', pattern: '^[^@\\s]+@[^@\\s]+\\.[a-z]{2,}$'},
          tags: {type: 'array', items: {type: 'string', maxLength: 20}, uniqueItems: true},
        },
      },
      shipping: {$ref: '#/$defs/address'},
      billing: {anyOf: [{$ref: '#/$defs/address'}, {type: 'null'}]},
      lines: {
        type: 'array', minItems: 1, maxItems: 50,
        items: {
          type: 'object',
          required: ['sku', 'quantity', 'price'],
          properties: {
            sku: {type: 'string', minLength: 4, maxLength: 16},
            quantity: {type: 'integer', minimum: 1, maximum: 999},
            price: {type: 'number', exclusiveMinimum: 0},
            gift: {type: 'boolean'},
          },
          additionalProperties: false,
        },
      },
    },
    $defs: {
      address: {
        type: 'object',
        required: ['street', 'city', 'country'],
        properties: {
          street: {type: 'string', minLength: 1}, city: {type: 'string', minLength: 1},
          zip: {type: 'string', maxLength: 10}, country: {type: 'string', minLength: 2, maxLength: 2},
        },
      },
    },
  },
  document(n) {
    const address = () => ({street: text(12) + ' ' + random(200), city: text(8), zip: String(10000 + random(80000)), country: 'DE'});
    const document = {
      order_id: 'AB-' + String(100000 + random(899999)), status: pick(['new', 'paid', 'sent', 'returned']),
      customer: {id: 1 + random(100000), email: text(8) + '@' + text(6) + '.com', tags: [text(5), text(6), text(7)]},
      shipping: address(), billing: random(2) ? address() : null,
      lines: Array.from({length: 1 + random(8)}, () => (
        {sku: text(8), quantity: 1 + random(5), price: (1 + random(10000)) / 100, gift: random(2) === 1})),
    };
    if (n % 10 === 0) pick([
      () => { document.order_id = 'x'; }, () => { document.lines[document.lines.length - 1].quantity = 0; },
      () => { document.shipping.country = 'Germany'; }, () => { document.customer.email = 'nobody'; },
      () => { delete document.lines; },
    ])();
    return document;
  },
};

// What unevaluatedProperties costs: annotations of branches.
const shape = {
  schema: {
    $schema: DRAFT,
    type: 'object',
    required: ['kind'],
    properties: {kind: {type: 'string'}, name: {type: 'string'}},
    oneOf: [
      {properties: {kind: {const: 'circle'}, radius: {type: 'number', minimum: 0}}, required: ['radius']},
      {properties: {kind: {const: 'box'}, width: {type: 'number'}, height: {type: 'number'}}, required: ['width', 'height']},
      {properties: {kind: {const: 'path'}, points: {type: 'array', items: {type: 'array', prefixItems: [{type: 'number'}, {type: 'number'}], items: false, minItems: 2}}}, required: ['points']},
    ],
    unevaluatedProperties: false,
  },
  document(n) {
    const document = pick([
      () => ({kind: 'circle', name: text(6), radius: random(100)}),
      () => ({kind: 'box', name: text(6), width: random(100), height: random(100)}),
      () => ({kind: 'path', name: text(6), points: Array.from({length: 10}, () => [random(100), random(100)])}),
    ])();
    if (n % 10 === 0) document.colour = 'red';
    return document;
  },
};

module.exports = {event, order, shape};
