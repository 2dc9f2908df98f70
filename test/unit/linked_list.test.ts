import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { LinkedList, type Listed } from '../../lib/core/linked_list.ts';

describe('a linked list', () => {
  it('has what was added and not removed, in the order in which it was added', () => {
    const steps = fc.array(fc.oneof(fc.constant('add' as const), fc.nat(20)), { maxLength: 60 });
    fc.assert(
      fc.property(steps, (all) => {
        const list = new LinkedList<number>();
        const places: Listed<number>[] = [];
        let next = 0;
        for (const step of all) {
          if (step === 'add') {
            places.push(list.add(next++));
          } else {
            const [place] = places.splice(step % (places.length || 1), 1);
            if (place !== undefined) list.remove(place);
          }
          assert.deepEqual(
            list.toArray(),
            places.map(({ item }) => item),
          );
        }
      }),
    );
  });
});
