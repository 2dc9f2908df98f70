import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { reached, sourcesIn } from '../../lab/apt.ts';

describe('lab apt sources', () => {
  it('are every one that the host would fetch, also those it never fetched', () => {
    const printed = [
      "'http://deb.debian.org/debian/dists/bookworm/InRelease' deb.debian.org_InRelease 0 ",
      "'http://deb.debian.org/debian-security/dists/bookworm-security/InRelease' x_InRelease 0 ",
      "'http://deb.debian.org/debian/dists/bookworm/main/binary-amd64/Packages.xz' x_Packages 0 ",
    ];
    assert.deepEqual(sourcesIn(printed.join('\n')), [
      { uri: 'http://deb.debian.org/debian', suite: 'bookworm' },
      { uri: 'http://deb.debian.org/debian-security', suite: 'bookworm-security' },
    ]);
  });
});

describe('what a package needs', () => {
  it('is all that it leads to, as far as it is wanted', () => {
    const printed = [
      'program',
      ' |Depends: libone',
      '  Depends: libtwo',
      '  PreDepends: tool',
      '  Depends: <virtual>',
      'libone',
      '  Depends: libthree',
      'libtwo',
      '  Depends: libone',
      'libthree',
      '  Depends: libone',
      'tool',
      '  Depends: libfour',
      'libother',
    ].join('\n');
    const isLibrary = (name: string): boolean => name.startsWith('lib');
    const names = ['program', 'libone', 'libtwo', 'libthree'];
    assert.deepEqual(reached(printed, 'program', isLibrary), names);
    assert.deepEqual(reached(printed, 'none', isLibrary), ['none']);
  });
});
