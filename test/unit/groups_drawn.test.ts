import assert from 'node:assert/strict';
import { instance } from '@viz-js/viz';
import { type Document, DOMParser, type Element } from '@xmldom/xmldom';
import { describe, it } from 'mocha';
import { groupsDot } from '../../lib/cli/groups_dot.ts';
import { groupsSvg } from '../../lib/cli/groups_svg.ts';
import { listGroupsSync, type ListedGroup } from '../../lib/index.ts';
import { richHost } from '../support/fake_groups.ts';
import { tree } from '../support/tree.ts';

const hostile = `</text><script>alert("1")</script> & 'x' \\N\\l " ]; \u001b[31m \ufffe\u202e ${'漢'.repeat(300)}`;

function richGroups(): ListedGroup[] {
  return listGroupsSync({ sysfsRoot: tree(richHost) });
}

/** Text of others in every place that has some. */
function hostileGroups(): ListedGroup[] {
  const groups = richGroups();
  for (const group of groups) {
    group.type = hostile;
    group.hidden = group.hidden.map(() => hostile);
    for (const device of group.devices) {
      Object.assign(device, { address: hostile, bus: hostile, class: hostile, driver: hostile });
      Object.assign(device, { vendor: hostile, device: hostile, physfn: hostile });
      device.uses = [{ kind: 'net', name: hostile, now: hostile }];
      if (device.cdev) device.cdev.name = hostile;
    }
  }
  return groups;
}

function manyGroups(count: number): ListedGroup[] {
  const [first, second] = richGroups();
  assert.ok(first && second);
  return Array.from({ length: count }, (_, at) => ({
    ...(at % 3 === 0 ? second : first),
    group: at,
  }));
}

/** Throws for what is not well formed. */
function parse(svg: string): Document {
  const onError = (level: string, message: string): never => {
    throw new Error(`${level}: ${message}`);
  };
  return new DOMParser({ onError }).parseFromString(svg, 'image/svg+xml');
}

function elements(document: Document, name: string): Element[] {
  return Array.from(document.getElementsByTagName(name));
}

const numberOf = (element: Element, name: string): number => Number(element.getAttribute(name));

describe('the picture of IOMMU groups', () => {
  it('has every group and device', () => {
    const texts = elements(parse(groupsSvg(richGroups(), 'host')), 'text').map(
      (e) => e.textContent,
    );
    for (const wanted of [
      'group 2',
      'group 20',
      '0000:00:1f.3',
      'vfio3',
      'eth0',
      'NVMe controller · 1b36:0010',
    ]) {
      assert.ok(texts.includes(wanted), wanted);
    }
    assert.ok(texts.includes('host: 6 groups with 8 devices; 3 viable; 3 bound to a VFIO driver'));
  });

  it('escapes all text of others, and has no more elements for it', () => {
    const count = (groups: ListedGroup[]): string[] => {
      const svg = groupsSvg(groups, hostile);
      // eslint-disable-next-line no-control-regex
      assert.doesNotMatch(svg, /[\u0000-\u0009\u000b-\u001f\u202e\ufffe]|<script/);
      return elements(parse(svg), '*').map(({ tagName }) => tagName);
    };
    const names = new Set(count(hostileGroups()));
    assert.deepEqual([...names].sort(), ['circle', 'g', 'line', 'path', 'rect', 'style', 'svg', 'text', 'title']); // prettier-ignore
    const cards = count(hostileGroups()).filter((name) => name === 'circle');
    assert.equal(cards.length, 6 + 3);
  });

  it('cuts what is too long, and has the whole in its title', () => {
    const document = parse(groupsSvg(hostileGroups(), 'host'));
    for (const { textContent } of elements(document, 'text')) {
      assert.ok((textContent ?? '').length < 160, textContent ?? '');
    }
    const titles = elements(document, 'title').map((e) => e.textContent ?? '');
    assert.ok(titles.some((title) => title.includes('漢'.repeat(300))));
  });

  for (const count of [0, 1, 2, 3, 24, 25, 100, 300]) {
    it(`lays ${count} groups out side by side, none over another, all within`, () => {
      const document = parse(groupsSvg(manyGroups(count), 'host'));
      const [svg] = elements(document, 'svg');
      assert.ok(svg);
      const cards = elements(document, 'rect').filter((e) => e.getAttribute('class') === 'card');
      assert.equal(cards.length, count);
      const boxes = cards.map((card) => ({
        left: numberOf(card, 'x'),
        top: numberOf(card, 'y'),
        right: numberOf(card, 'x') + numberOf(card, 'width'),
        bottom: numberOf(card, 'y') + numberOf(card, 'height'),
      }));
      for (const [at, a] of boxes.entries()) {
        assert.ok(a.left >= 0 && a.right <= numberOf(svg, 'width') && a.bottom <= numberOf(svg, 'height')); // prettier-ignore
        for (const b of boxes.slice(at + 1)) {
          const apart =
            a.right <= b.left || b.right <= a.left || a.bottom <= b.top || b.bottom <= a.top;
          assert.ok(apart);
        }
      }
    });
  }

  it('is for light and dark grounds', () => {
    assert.match(groupsSvg(richGroups(), 'host'), /@media \(prefers-color-scheme: dark\)/);
  });
});

interface Drawn {
  objects?: { name: string; label?: string; nodes?: number[] }[];
}

/** What Graphviz makes of it. */
async function drawn(groups: ListedGroup[]): Promise<Drawn> {
  const viz = await instance();
  const { status, errors, output } = viz.render(groupsDot(groups), { format: 'json' });
  // It warns of fonts that it does not know.
  const wrong = errors.filter(({ level }) => level !== 'warning');
  assert.deepEqual([status, wrong], ['success', []]);
  return JSON.parse(output ?? '') as Drawn;
}

describe("the groups in Graphviz' language", () => {
  it('have a box for each group and each device', async () => {
    const { objects = [] } = await drawn(richGroups());
    const groups = objects.filter(({ name }) => name.startsWith('cluster_'));
    assert.deepEqual(
      groups.map(({ nodes }) => nodes?.length),
      [1, 2, 3, 2, 1, 1],
    );
    assert.match(groups[1]?.label ?? '', /group 10/);
  });

  it('have nothing of others obeyed', async () => {
    const { objects = [] } = await drawn(hostileGroups());
    assert.equal(objects.filter(({ name }) => name.startsWith('cluster_')).length, 6);
    const devices = objects.filter(({ name }) => name.startsWith('d'));
    // All have the same name now, which is one box.
    assert.ok(devices.length >= 1);
    for (const { label = '' } of devices) {
      assert.match(label, /<\/text><script>alert|&lt;\/text/);
      assert.ok(label.includes(String.raw`\\N\\l`) || label.includes(String.raw`\N\l`));
    }
  });

  it('are a graph with nothing in it where there is none', async () => {
    const { objects = [] } = await drawn([]);
    assert.deepEqual(objects, []);
  });
});
