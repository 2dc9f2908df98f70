import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { describe, it } from 'mocha';
import { parse, parseAllDocuments } from 'yaml';
import { cdiSpec } from '../../lib/index.ts';
import * as api from '../../lib/index.ts';
import { blocksOf } from '../support/readme.ts';
import { root } from '../support/root.ts';
import { boundToVfio, pciDevice, sysfsFiles } from '../support/sysfs.ts';
import { tree } from '../support/tree.ts';

const file = 'docs/kubernetes.md';

type Labels = Record<string, string>;

interface Container {
  name: string;
  image: string;
  command?: string[];
  args?: string[];
  securityContext: {
    runAsUser?: number;
    privileged: boolean;
    allowPrivilegeEscalation?: boolean;
    capabilities?: { drop: string[]; add: string[] };
  };
  resources: { requests: Labels; limits: Labels };
  volumeMounts?: { name: string; mountPath: string }[];
}

interface PodSpec {
  serviceAccountName: string;
  automountServiceAccountToken: boolean;
  hostNetwork?: boolean;
  nodeSelector?: Labels;
  containers: Container[];
  volumes?: {
    name: string;
    hostPath?: { path: string; type: string };
    configMap?: { name: string };
  }[];
}

interface Manifest {
  apiVersion: string;
  kind: string;
  metadata: { name: string; namespace?: string; labels?: Labels };
  automountServiceAccountToken?: boolean;
  data?: Record<string, string>;
  spec?: unknown;
}

interface DaemonSetSpec {
  selector: { matchLabels: Labels };
  template: { metadata: { labels: Labels }; spec: PodSpec };
}

/** Every manifest of every block. */
function manifests(): Manifest[] {
  return blocksOf(file, 'yaml').flatMap((block) =>
    parseAllDocuments(block, { strict: true }).map((document) => {
      assert.deepEqual([...document.errors, ...document.warnings], [], block);
      return document.toJS() as Manifest;
    }),
  );
}

const all = manifests();

function ofKind(kind: string): Manifest[] {
  return all.filter((each) => each.kind === kind);
}

function isThere(kind: string, name: string, namespace: string | undefined): boolean {
  return ofKind(kind).some(
    ({ metadata }) => metadata.name === name && metadata.namespace === namespace,
  );
}

/** What runs: the pods, and those that the daemon sets make. */
function podSpecs(): { of: Manifest; spec: PodSpec }[] {
  return [
    ...ofKind('Pod').map((of) => ({ of, spec: of.spec as PodSpec })),
    ...ofKind('DaemonSet').map((of) => ({ of, spec: (of.spec as DaemonSetSpec).template.spec })),
  ];
}

interface SriovResource {
  resourcePrefix: string;
  resourceName: string;
  deviceType?: string;
  selectors: { vendors: string[]; devices: string[]; drivers: string[] };
  additionalInfo?: Record<string, Labels>;
}

function sriovResources(): SriovResource[] {
  return ofKind('ConfigMap').flatMap(({ data }) => {
    const config = JSON.parse(data?.['config.json'] ?? '') as { resourceList: SriovResource[] };
    return config.resourceList;
  });
}

interface GenericDevice {
  name: string;
  groups: { paths: { path: string }[] }[];
}

/** What the generic plugin is told, by its arguments. */
function genericDevices(): { domain: string; device: GenericDevice }[] {
  return podSpecs()
    .flatMap(({ spec }) => spec.containers)
    .filter(({ args }) => args?.includes('--device'))
    .flatMap(({ args = [] }) => {
      const after = (option: string): string[] => args.filter((_, at) => args[at - 1] === option);
      const [domain = ''] = after('--domain');
      return after('--device').map((text) => ({ domain, device: parse(text) as GenericDevice }));
    });
}

/** The resources that a plugin of the page offers. */
function offeredResources(): string[] {
  return [
    ...sriovResources().map(
      ({ resourcePrefix, resourceName }) => `${resourcePrefix}/${resourceName}`,
    ),
    ...genericDevices().map(({ domain, device }) => `${domain}/${device.name}`),
  ];
}

const versions: Labels = {
  Namespace: 'v1',
  ServiceAccount: 'v1',
  ConfigMap: 'v1',
  Pod: 'v1',
  DaemonSet: 'apps/v1',
  KubeVirt: 'kubevirt.io/v1',
};

describe('docs/kubernetes.md', () => {
  it('has manifests of known kinds, with names that Kubernetes takes', () => {
    assert.ok(all.length >= 10);
    for (const { apiVersion, kind, metadata } of all) {
      assert.equal(apiVersion, versions[kind], kind);
      assert.match(metadata.name, /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/);
      assert.equal(metadata.namespace === undefined, kind === 'Namespace', metadata.name);
    }
    const names = all.map(({ kind, metadata: { name, namespace = '' } }) =>
      [kind, namespace, name].join('/'),
    );
    assert.equal(new Set(names).size, names.length, names.join());
  });

  it('names only what it makes: namespaces, accounts, configurations, volumes', () => {
    for (const { kind, metadata } of all) {
      if (kind === 'Namespace' || kind === 'KubeVirt') continue;
      assert.ok(isThere('Namespace', metadata.namespace ?? '', undefined), metadata.name);
    }
    for (const { of, spec } of podSpecs()) {
      const { namespace } = of.metadata;
      assert.ok(isThere('ServiceAccount', spec.serviceAccountName, namespace), of.metadata.name);
      for (const { configMap } of spec.volumes ?? []) {
        if (configMap) assert.ok(isThere('ConfigMap', configMap.name, namespace), configMap.name);
      }
      const volumes = (spec.volumes ?? []).map(({ name }) => name);
      const mounts = spec.containers.flatMap(({ volumeMounts = [] }) => volumeMounts);
      assert.deepEqual(mounts.map(({ name }) => name).sort(), volumes.sort(), of.metadata.name);
    }
    for (const { spec } of ofKind('DaemonSet')) {
      const { selector, template } = spec as DaemonSetSpec;
      for (const [label, value] of Object.entries(selector.matchLabels)) {
        assert.equal(template.metadata.labels[label], value);
      }
    }
  });

  it('gives nobody a token of the API server', () => {
    for (const { automountServiceAccountToken } of ofKind('ServiceAccount')) {
      assert.equal(automountServiceAccountToken, false);
    }
    for (const { spec } of podSpecs()) assert.equal(spec.automountServiceAccountToken, false);
  });

  it('has pods that ask for what a plugin offers, and are neither privileged nor see the node', () => {
    const offered = offeredResources();
    assert.deepEqual(offered, ['vfio.dev/fec', 'vfio.dev/nvme']);
    const asked = ofKind('Pod').map((pod) => {
      const { containers, volumes, hostNetwork } = pod.spec as PodSpec;
      assert.deepEqual([volumes, hostNetwork], [undefined, undefined]);
      const [container, ...others] = containers;
      assert.ok(container && others.length === 0);
      const { securityContext, resources } = container;
      assert.equal(securityContext.privileged, false);
      assert.equal(securityContext.allowPrivilegeEscalation, false);
      // Added capabilities reach processes of root only.
      assert.equal(securityContext.runAsUser, 0);
      assert.deepEqual(securityContext.capabilities, { drop: ['ALL'], add: ['IPC_LOCK'] });
      const extended = Object.keys(resources.limits).filter((name) => name.includes('/'));
      for (const name of extended) assert.equal(resources.requests[name], resources.limits[name]);
      return extended;
    });
    assert.deepEqual(asked.flat().sort(), offered.sort());
  });

  it('allows in each namespace what runs there', () => {
    for (const { of, spec } of podSpecs()) {
      const isMuch = spec.containers.some(
        ({ securityContext: { privileged, capabilities } }) =>
          privileged || capabilities?.add.includes('IPC_LOCK'),
      );
      const namespace = ofKind('Namespace').find(
        ({ metadata }) => metadata.name === of.metadata.namespace,
      );
      const level = namespace?.metadata.labels?.['pod-security.kubernetes.io/enforce'];
      assert.equal(level, isMuch ? 'privileged' : 'restricted', of.metadata.name);
    }
  });

  it('has images with a tag, and a command that the image has', () => {
    const [dockerfile = ''] = blocksOf(file, 'dockerfile');
    const [, program = ''] = /CMD \["node", "([^"]+)"\]/.exec(dockerfile) ?? [];
    assert.equal(program, '/app/open.mjs');
    assert.match(dockerfile, /^WORKDIR \/app$/m);
    assert.match(dockerfile, /^COPY open\.mjs \.$/m);
    for (const { containers } of podSpecs().map(({ spec }) => spec)) {
      for (const { image, command } of containers) {
        assert.match(image, /^[a-z0-9.-]+\.[a-z]+(?:\/[a-z0-9-]+)+:[\w.-]+$/);
        if (command) assert.deepEqual(command.slice(0, 2), ['node', program]);
      }
    }
  });

  it('configures the SR-IOV plugin by what it knows, with a token that vfToken takes', () => {
    for (const { selectors, deviceType, additionalInfo = {} } of sriovResources()) {
      assert.equal(deviceType, 'accelerator');
      assert.deepEqual(Object.keys(selectors), ['vendors', 'devices', 'drivers']);
      for (const id of [...selectors.vendors, ...selectors.devices])
        assert.match(id, /^[0-9a-f]{4}$/);
      assert.deepEqual(selectors.drivers, ['vfio-pci']);
      for (const { token } of Object.values(additionalInfo)) {
        assert.match(token ?? '', /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
      }
    }
    const [kubevirt] = ofKind('KubeVirt');
    const [device] = sriovResources();
    const text = JSON.stringify(kubevirt?.spec);
    const { vendors, devices } = device?.selectors ?? { vendors: [], devices: [] };
    assert.ok(text.includes(`"${vendors[0]}:${devices[0]}"`.toUpperCase()));
    // Two plugins must not offer the same devices: neither under one name, nor on one node.
    const [, name = ''] = /"resourceName":"([^"]+)"/.exec(text) ?? [];
    assert.ok(name !== '' && !offeredResources().includes(name), name);
    const [, label = ''] = /"nodeSelector":\{"([^"]+)":"true"\}/.exec(text) ?? [];
    assert.ok(label !== '');
    for (const { spec } of ofKind('DaemonSet')) {
      const { nodeSelector = {} } = (spec as DaemonSetSpec).template.spec;
      assert.ok(Object.keys(nodeSelector).length > 0 && !(label in nodeSelector), label);
    }
  });

  it('lists for each device of the generic plugin the nodes that opening it takes', () => {
    const [{ device } = { device: undefined }] = genericDevices();
    const groups = device?.groups.map(({ paths }) => paths.map(({ path }) => path)) ?? [];
    assert.ok(groups.length >= 2);
    const cdevs = groups.map(([cdev = '', iommu, ...more]) => {
      assert.match(cdev, /^\/dev\/vfio\/devices\/vfio\d+$/);
      assert.deepEqual([iommu, ...more], ['/dev/iommu']);
      return cdev;
    });
    assert.equal(new Set(cdevs).size, cdevs.length);
  });

  it('has a program that finds the address which each plugin tells', () => {
    const [program = ''] = blocksOf(file, 'js');
    const checked = spawnSync(process.execPath, ['--input-type=module', '--check'], {
      input: program.replace('await using', 'const'),
      encoding: 'utf8',
    });
    assert.equal(checked.status, 0, checked.stderr);
    const [, imported = ''] = /import \{ (.+) \} from 'vfio'/.exec(program) ?? [];
    for (const name of imported.split(', ')) assert.ok(name in api, name);
    const [, source = ''] = /^ {2}\/(.+)\/\.test\(name\)/m.exec(program) ?? [];
    const isVariable = new RegExp(source);
    const pci = { '0000:3b:00.0': pciDevice(11, boundToVfio('vfio3', '511:3\n')) };
    const files = { ...sysfsFiles({ pci }), 'class/misc/iommu/dev': '10:1\n' };
    const { devices } = cdiSpec(['3b:00.0'], { sysfsRoot: tree(files) });
    const [variable = ''] = devices[0]?.containerEdits.env ?? [];
    const told = [variable.split('=')[0] ?? '', 'PCIDEVICE_VFIO_DEV_FEC'];
    for (const name of told) assert.match(name, isVariable);
    for (const name of ['PCIDEVICE_VFIO_DEV_FEC_INFO', 'PATH'])
      assert.doesNotMatch(name, isVariable);
  });

  it('says of our own parts what is true', () => {
    const text = readFileSync(new URL(file, root), 'utf8');
    const why = 'its cdev has no node here, and its group has one';
    assert.ok(text.includes(why));
    assert.ok(readFileSync(new URL('lib/device/open.ts', root), 'utf8').includes(`'${why}'`));
  });
});
