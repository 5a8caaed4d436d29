/** Block nodes over files in memory: who may have what below it, sizes, options that change, and who closes what. */
import { beforeEach, describe, expect, it } from 'vitest';
import { HostError } from '../core/errors.ts';
import type { BlockHost, HostFile } from './file.ts';
import type { NodeUser } from './graph.ts';
import { BlockGraph } from './graph.ts';
import { MemoryFile } from './memory.ts';

const SIZE = 64 << 10;

class MemoryHost implements BlockHost {
  readonly open_ = new Set<string>();
  readonly temporaries: MemoryFile[] = [];

  open(path: string): HostFile {
    if (!path.endsWith('.raw')) throw new HostError(`Could not open '${path}': No such file or directory`);
    const file = MemoryFile.from(new Uint8Array(SIZE).fill(7), path);
    this.open_.add(path);
    const close = file.close.bind(file);
    file.close = () => {
      this.open_.delete(path);
      return close();
    };
    return file;
  }

  temporary(): HostFile {
    const file = new MemoryFile(0, 1 << 20);
    this.temporaries.push(file);
    return file;
  }

  warn(): void {}
}

const user = (label: string, writes = true): NodeUser & { sizes: number } => {
  const self = { label, writes, shares: false, sizes: 0, resized: () => void self.sizes++ };
  return self;
};

let host: MemoryHost;
let graph: BlockGraph;

beforeEach(() => {
  host = new MemoryHost();
  graph = new BlockGraph(host, (name) => name === 'drive0');
});

const raw = (nodeName: string, file: string) => graph.add({ driver: 'raw', nodeName, file });
const file = (nodeName: string, filename = `${nodeName}.raw`) =>
  graph.add({ driver: 'file', nodeName, filename });

describe('nodes', () => {
  it('are made one over the other, and read what is below', async () => {
    await file('f0');
    const node = await raw('r0', 'f0');
    const data = new Uint8Array(4);
    await node.backend.read(0, [data]);
    expect([...data]).toEqual([7, 7, 7, 7]);
    expect([...graph.nodes.keys()]).toEqual(['f0', 'r0']);
  });

  it('a child that is made with its parent goes with it', async () => {
    await graph.add({
      driver: 'raw',
      nodeName: 'r0',
      file: { driver: 'file', nodeName: 'inner', filename: 'a.raw' },
    });
    expect(graph.nodes.size).toBe(2);
    await expect(graph.remove('inner')).rejects.toThrow('Node inner is not owned by the monitor');
    await graph.remove('r0');
    expect(graph.nodes.size).toBe(0);
    expect(host.open_.size).toBe(0);
  });

  it('a child of its own stays, and stays open', async () => {
    await file('f0');
    await raw('r0', 'f0');
    await expect(graph.remove('f0')).rejects.toThrow('Block device f0 is in use');
    await graph.remove('r0');
    expect(host.open_.size).toBe(1);
    await graph.remove('f0');
    expect(host.open_.size).toBe(0);
  });

  it('a failure leaves nothing behind', async () => {
    await expect(file('f0', 'nope')).rejects.toThrow("Could not open 'nope'");
    await expect(raw('r0', 'f0')).rejects.toThrow("Cannot find device='f0' nor node-name='f0'");
    await expect(file('drive0')).rejects.toThrow('node-name=drive0 is conflicting with a device id');
    expect(graph.nodes.size).toBe(0);
    expect(host.open_.size).toBe(0);
  });

  it('nested without end are refused', async () => {
    let options: Parameters<BlockGraph['add']>[0] = { driver: 'null-co' };
    for (let level = 0; level < 20; level++) options = { driver: 'raw', file: options };
    await expect(graph.add({ ...options, nodeName: 'deep' })).rejects.toThrow('nested too deeply');
  });
});

describe('users', () => {
  it('one writes, others read nothing of it', async () => {
    await file('f0');
    const node = await raw('r0', 'f0');
    const other = await raw('r1', 'f0');
    const leave = graph.attach(node, user("block device 'a'"));
    expect(() => graph.attach(node, user("block device 'b'"))).toThrow(
      "Permission conflict on node 'r0': permissions 'write' are both required by block device 'a' " +
        "(uses node 'r0' as 'root' child) and unshared by block device 'b' (uses node 'r0' as 'root' child).",
    );
    expect(() => graph.attach(other, user("block device 'b'"))).toThrow("conflict on node 'f0'");
    await expect(graph.remove('r0')).rejects.toThrow('Node r0 is in use');
    leave();
    graph.attach(other, user("block device 'b'"));
  });

  it('hear of another size, whichever node was resized', async () => {
    const below = await file('f0');
    const node = await raw('r0', 'f0');
    const one = user('a');
    graph.attach(node, one);
    await graph.resize(below, 2 * SIZE);
    expect([one.sizes, node.backend.size]).toEqual([1, 2 * SIZE]);
    await graph.resize(node, SIZE);
    expect([one.sizes, below.backend.size]).toEqual([2, SIZE]);
  });

  it('what is in use is not made read-only under them', async () => {
    await file('f0');
    const node = await raw('r0', 'f0');
    const leave = graph.attach(node, user('a'));
    const change = { driver: 'raw', nodeName: 'r0', file: 'f0', readOnly: true };
    expect(() => graph.reopen(change)).toThrow("Read-only block node 'r0' cannot support read-write users");
    leave();
    graph.reopen(change);
    expect(node.backend.readOnly).toBe(true);
    await expect(graph.resize(node, 4096)).rejects.toThrow('Image is read-only');
    expect(() => graph.reopen({ ...change, driver: 'file' })).toThrow("Cannot change the option 'driver'");
  });
});

describe('the layers of a drive', () => {
  it('are named and closed together', async () => {
    const node = await graph.addImage({ file: 'd.raw', format: 'raw' }, 'mine');
    expect([...graph.nodes.keys()]).toEqual(['#block000', 'mine']);
    await expect(graph.remove('mine')).rejects.toThrow('Node mine is not owned by the monitor');
    await graph.drop(node);
    expect([graph.nodes.size, host.open_.size]).toEqual([0, 0]);
  });

  it('with a snapshot grow by zeroes, and do not shrink', async () => {
    const node = await graph.addImage({ file: 'd.raw', format: 'raw', snapshot: true }, undefined);
    await graph.resize(node, SIZE + 8192);
    const data = new Uint8Array(8);
    await node.backend.read(SIZE - 4, [data]);
    expect([...data]).toEqual([7, 7, 7, 7, 0, 0, 0, 0]);
    await node.backend.write(SIZE + 4096, [Uint8Array.of(1, 2, 3, 4)]);
    await node.backend.read(SIZE + 4094, [data]);
    expect([...data]).toEqual([0, 0, 1, 2, 3, 4, 0, 0]);
    await expect(graph.resize(node, SIZE)).rejects.toThrow('Cannot shrink');
  });
});
