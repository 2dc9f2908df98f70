import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'mocha';
import { root } from '../support/root.ts';
import { linksOf } from '../support/readme.ts';

describe('the package', () => {
  it('names its classes in errors and stacks as the source does', async () => {
    const built = (await import(new URL('dist/index.js', root).href)) as Record<string, unknown>;
    const classes = Object.entries(built).filter(
      (entry): entry is [string, new () => unknown] =>
        typeof entry[1] === 'function' && /^class\b/.test(String(entry[1])),
    );
    assert.ok(classes.length > 5);
    assert.deepEqual(
      classes.map(([, { name }]) => name),
      classes.map(([name]) => name),
    );
  });

  it('has what its documents for users link to', () => {
    const args = ['pack', '--dry-run', '--ignore-scripts', '--json'];
    const [{ files }] = JSON.parse(
      execFileSync('npm', args, {
        cwd: root,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }),
    ) as [{ files: { path: string }[] }];
    const paths = files.map(({ path }) => path);
    assert.ok(paths.includes('native/vfio.gypi') && paths.includes('dist/index.js'));
    // npm ci and pnpm compile a package that has one, though it has no install script.
    assert.ok(!paths.includes('binding.gyp'));
    assert.deepEqual(
      paths.filter((path) => /\.map$|tsbuildinfo/.test(path)),
      [],
    );

    /**
     * In the repository alone: what is for those who work on the package, and what would make it
     * larger than it may be (test/package/contents.test.ts).
     */
    const inRepository = [
      ...['CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md'],
      ...['docs/architecture.md', 'docs/demo.svg', 'docs/lab.md', 'docs/performance.md'],
      ...['docs/reliability.md', 'docs/kubernetes.md'],
      ...['examples/models/nvme.ts', 'examples/nvme/main.ts'],
      ...['examples/vmm/broker.ts', 'examples/vmm/kvm/main.ts'],
      'examples/vmm/qemu.ts',
    ];
    for (const document of paths.filter((path) => path.endsWith('.md'))) {
      for (const target of linksOf(document)) {
        if (inRepository.includes(target)) assert.ok(existsSync(new URL(target, root)), target);
        else assert.ok(paths.includes(target), `${document} links to ${target}`);
      }
    }
  });
});
