import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { didYouMean, suggestion } from '../../lib/cli/suggest.ts';

const known = ['info', 'list', 'config', 'read', 'reset', 'write', 'features', 'bench open'];

describe('what was probably meant', () => {
  const cases: [string, string | undefined][] = [
    ['lsit', 'list'],
    ['lst', 'list'],
    ['lisst', 'list'],
    ['lost', 'list'],
    ['Info', 'info'],
    ['confgi', 'config'],
    ['ocnfgi', 'config'],
    ['feature', 'features'],
    ['feat', 'features'],
    ['bench oepn', 'bench open'],
    // Two mistakes are too many in a short word, and three in a long one.
    ['isltx', undefined],
    ['xyzfig', undefined],
    ['x', undefined],
    ['', undefined],
    ['frobnicate', undefined],
  ];
  for (const [typed, meant] of cases) {
    it(`of '${typed}' is ${meant ?? 'not known'}`, () => {
      assert.equal(suggestion(typed, known), meant);
    });
  }

  it('is asked, or nothing is', () => {
    assert.equal(didYouMean('lsit', known), "; did you mean 'list'?");
    assert.equal(didYouMean('x', known), '');
  });

  it('is found at once in words of any length', () => {
    assert.equal(suggestion('x'.repeat(10_000), known), undefined);
  });
});
