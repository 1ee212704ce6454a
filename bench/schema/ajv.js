// node ajv.js documents CASE COUNT      prints COUNT documents, one a line
// node ajv.js schema CASE               prints the schema
// node ajv.js run CASE FILE             prints "valid rate rate_with_parsing" of ajv
'use strict';

const fs = require('fs');
const cases = require('./cases.js');
const [, , what, name, argument] = process.argv;
const {schema, document} = cases[name];
const ROUNDS = 100;

// Records per second of the best round.
function best(work, records) {
  let rate = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const start = process.hrtime.bigint();
    work();
    rate = Math.max(rate, records / (Number(process.hrtime.bigint() - start) / 1e9));
  }
  return Math.round(rate);
}

if (what === 'documents') {
  for (let n = 0; n < Number(argument); n++) process.stdout.write(JSON.stringify(document(n)) + '\n');
} else if (what === 'schema') {
  process.stdout.write(JSON.stringify(schema));
} else {
  const Ajv = require('ajv/dist/2020').default;
  const validate = new Ajv({strict: false}).compile(schema);
  const lines = fs.readFileSync(argument, 'utf8').trimEnd().split('\n');
  const documents = lines.map((line) => JSON.parse(line));
  let valid;
  const parsed = best(() => { valid = documents.filter((each) => validate(each)).length; }, lines.length);
  const parsing = best(() => lines.filter((line) => validate(JSON.parse(line))).length, lines.length);
  console.log(valid, parsed, parsing);
}
