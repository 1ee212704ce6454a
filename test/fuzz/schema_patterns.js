// Prints random regular expressions, texts and whether JavaScript finds a match, one JSON object a
// line: node schema_patterns.js SEED COUNT.  etl must agree in every case.  (Texts keep to
// characters of one UTF-16 unit: V8 finds \B inside of a surrogate pair.)
'use strict';

let state = Number(process.argv[2]);
const count = Number(process.argv[3]);

function random(limit) {
  state = (state * 1103515245 + 12345) % 2147483648;
  return Math.floor(state / 2147483648 * limit);
}
const pick = (list) => list[random(list.length)];

const CLASSES = ['[ab]', '[^a]', '[a-c]', '\\w', '\\W', '\\d', '\\s', '[^\\s]', '[\\wé]', '\\p{L}', '\\P{Lu}', '[\\d\\-x]', '\\u{1F600}'];

function atom(depth) {
  switch (random(depth > 0 ? 14 : 9)) {
    case 0: case 1: case 2: return pick(['a', 'b', 'c']);
    case 3: return '.';
    case 4: return pick(CLASSES);
    case 5: return pick(['^', '$', '\\b', '\\B']);
    case 6: return pick(['é', '1', ' ', '_', '-']);
    case 7: return 'ab';
    case 8: return '(?:)';
    case 9: return '(' + choice(depth - 1) + ')';
    case 10: return '(?:' + choice(depth - 1) + ')';
    case 11: return pick(['(?=', '(?!']) + choice(depth - 1) + ')';
    case 12: return pick(['(?<=', '(?<!']) + choice(depth - 1) + ')';
    default: return '(?<n' + random(1000000) + '>' + choice(depth - 1) + ')';
  }
}

function quantified(one) {
  if (/^(\^|\$|\\b|\\B|\(\?([=!]|<[=!])|ab$)/i.test(one)) return one;
  return one + pick(['', '', '', '*', '+', '?', '{2}', '{1,3}', '{0,2}?', '{2,}', '*?']);
}

const sequence = (depth) => Array.from({length: 1 + random(4)}, () => quantified(atom(depth))).join('');
const choice = (depth) => Array.from({length: 1 + (random(3) === 0 ? 1 : 0)}, () => sequence(depth)).join('|');

for (let n = 0; n < count; n++) {
  const pattern = choice(3);
  let expression;
  try {
    expression = new RegExp(pattern, 'u');
  } catch (error) {
    continue;
  }
  for (let i = 0; i < 4; i++) {
    const text = Array.from({length: random(8)}, () => pick(['a', 'b', 'c', 'é', '1', ' ', '_', 'A', '-', '\n'])).join('');
    console.log(JSON.stringify({pattern, text, matches: expression.test(text)}));
  }
}
