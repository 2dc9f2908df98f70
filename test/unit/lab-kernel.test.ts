import assert from 'node:assert/strict';

import { describe, it } from 'mocha';

import { forUserSpace } from '../../lab/headers.ts';
import { configurationLines, missingLines } from '../../lab/kernel/options.ts';

describe('lab kernel options', () => {
  it('are each named once', () => {
    const names = configurationLines().map((line) => line.split('=', 1)[0]);
    assert.deepEqual(
      names.filter((name, index) => names.indexOf(name) !== index),
      [],
    );
  });

  it('are missed when Kconfig dropped them or made them something else', () => {
    const lines = configurationLines();
    assert.deepEqual(missingLines(lines.join('\n')), []);
    const changed = lines
      .filter((line) => line !== 'CONFIG_IOMMUFD=y')
      .map((line) =>
        line.replace('CONFIG_VFIO_PCI_DMABUF=y', '# CONFIG_VFIO_PCI_DMABUF is not set'),
      );
    assert.deepEqual(missingLines(changed.join('\n')).sort(), [
      'CONFIG_IOMMUFD=y',
      'CONFIG_VFIO_PCI_DMABUF=y',
    ]);
  });
});

describe('lab headers', () => {
  it('lose what only the kernel understands', () => {
    const kernel =
      '#ifndef _UAPIVFIO_H\n#define _UAPIVFIO_H\n#include <linux/compiler.h>\n' +
      '\t__u64 __user *data;\n#endif /* _UAPIVFIO_H */\n';
    const user = '#ifndef VFIO_H\n#define VFIO_H\n\t__u64 *data;\n#endif /* VFIO_H */\n';
    assert.equal(forUserSpace(kernel), user);
  });
});
