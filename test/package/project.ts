import { copyFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { root } from '../support/root.ts';
import { output, run, type Ended } from './run.ts';
import { newFolder, tarball } from './tarball.ts';
import { node, tool, type NodeLine } from './tools.ts';

interface Manager {
  /** A line of Node that it supports. */
  line: NodeLine;
  program: string;
  add: string[];
  /** Installs what the lockfile says; scripts run as the manager has them run by itself. */
  reinstall: string[];
  /** Runs a command of an installed package, and never fetches one. */
  exec: { program: string; args: string[] };
}

export const managerNames = ['npm 10', 'npm 11', 'npm 12', 'pnpm'] as const;
export type ManagerName = (typeof managerNames)[number];

const managers: Record<ManagerName, Manager> = {
  'npm 10': npm('npm-10', '20'),
  'npm 11': npm('npm-11', '22'),
  'npm 12': npm('npm-12', '26'),
  pnpm: {
    line: '24',
    program: 'pnpm/bin/pnpm.mjs',
    add: ['add', '--ignore-scripts'],
    reinstall: ['install', '--frozen-lockfile', '--force'],
    exec: { program: 'pnpm/bin/pnpm.mjs', args: ['exec'] },
  },
};

function npm(name: string, line: NodeLine): Manager {
  return {
    line,
    program: `${name}/bin/npm-cli.js`,
    add: ['install', '--ignore-scripts', '--no-audit', '--no-fund'],
    reinstall: ['ci', '--no-audit', '--no-fund'],
    exec: { program: `${name}/bin/npx-cli.js`, args: ['--no', '--'] },
  };
}

/** The same for all. */
let registry: Promise<NodeJS.ProcessEnv> | undefined;

const installed = new Map<ManagerName, Promise<Project>>();

/**
 * A project in a folder of its own, with the tarball installed, on a machine that can compile
 * nothing.
 */
export class Project {
  readonly folder: string;
  readonly env: NodeJS.ProcessEnv;
  readonly #manager: Manager;

  private constructor(folder: string, env: NodeJS.ProcessEnv, manager: Manager) {
    this.folder = folder;
    this.env = env;
    this.#manager = manager;
  }

  /** The project of this manager that all tests share. */
  static installed(name: ManagerName): Promise<Project> {
    const project = installed.get(name) ?? Project.#install(name);
    installed.set(name, project);
    return project;
  }

  static async #install(name: ManagerName): Promise<Project> {
    const manager = managers[name];
    const folder = newFolder('project');
    writeFileSync(join(folder, 'package.json'), '{ "private": true }');
    const project = new Project(folder, await bareEnvironment(manager.line), manager);
    await project.output('node', tool(manager.program), ...manager.add, tarball());
    return project;
  }

  /**
   * As a clone of the project is set up: from its lockfile, with scripts. Answers what was printed.
   */
  reinstall(): Promise<string> {
    return this.output('node', tool(this.#manager.program), ...this.#manager.reinstall);
  }

  /** What a program printed that runs here and ends well. */
  output(file: string, ...args: string[]): Promise<string> {
    return output(this.#find(file), args, { cwd: this.folder, env: this.env });
  }

  run(file: string, ...args: string[]): Promise<Ended> {
    return run(this.#find(file), args, { cwd: this.folder, env: this.env });
  }

  /** `npx`, or what the manager has in its place. */
  exec(...command: string[]): Promise<string> {
    const { program, args } = this.#manager.exec;
    return this.output('node', tool(program), ...args, ...command);
  }

  /** The same, however it ends. */
  tryExec(...command: string[]): Promise<Ended> {
    const { program, args } = this.#manager.exec;
    return this.run('node', tool(program), ...args, ...command);
  }

  /** Puts a file of the checkout here; answers its path. */
  copy(file: string, name: string): string {
    const path = join(this.folder, name);
    copyFileSync(fileURLToPath(new URL(file, root)), path);
    return path;
  }

  /** spawn() looks for names in the PATH of this process. */
  #find(file: string): string {
    return file === 'node' ? node(this.#manager.line) : file;
  }
}

/**
 * A PATH of `node` and `sh` alone, and an empty home, so no cache and no store. The registry is the
 * one that this machine's npm is configured for.
 */
async function bareEnvironment(line: NodeLine): Promise<NodeJS.ProcessEnv> {
  const bin = newFolder('bin');
  symlinkSync(node(line), join(bin, 'node'));
  symlinkSync('/bin/sh', join(bin, 'sh'));
  const home = newFolder('home');
  // Those of npm tell what the `npm run` that started this is configured for, XDG's where the
  // caches are.
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(npm_|pnpm_|XDG_|NODE_OPTIONS|VFIO_)/i.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    ...(await (registry ??= registryConfiguration())),
    PATH: bin,
    HOME: home,
    npm_config_cache: join(home, '.npm'),
  };
}

/** pnpm asks for the registry by a variable of its own, and finds the rest in npm's file. */
async function registryConfiguration(): Promise<NodeJS.ProcessEnv> {
  const get = ['config', 'get', 'userconfig', 'globalconfig', 'registry'];
  const answer = await output('npm', get, { cwd: fileURLToPath(root) });
  const config = new Map<string, string>();
  for (const [, key = '', value = ''] of answer.matchAll(/^(\w+)=(.*)$/gm)) config.set(key, value);
  return {
    npm_config_userconfig: config.get('userconfig'),
    npm_config_globalconfig: config.get('globalconfig'),
    npm_config_registry: config.get('registry'),
    pnpm_config_registry: config.get('registry'),
  };
}
