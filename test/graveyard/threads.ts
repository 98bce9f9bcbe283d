/** A thread of another project in which somebody tells how a store of this kind lost something. */
export interface Thread {
  /** How tests and `docs/graveyard.md` cite it. */
  readonly name: string
  readonly url: string
}

/** All that are re-enacted here, in the order of the design's table. */
export const threads: readonly Thread[] = [
  { name: 'KeyDB #366', url: 'https://github.com/Snapchat/KeyDB/issues/366' },
  { name: 'KeyDB #247', url: 'https://github.com/Snapchat/KeyDB/issues/247' },
  { name: 'KeyDB #447', url: 'https://github.com/Snapchat/KeyDB/issues/447' },
  { name: 'KeyDB #442', url: 'https://github.com/Snapchat/KeyDB/issues/442' },
  { name: 'KeyDB #83', url: 'https://github.com/Snapchat/KeyDB/issues/83' },
  { name: 'Riak #311', url: 'https://github.com/basho/riak_kv/issues/311' },
  { name: 'Antidote #204', url: 'https://github.com/AntidoteDB/antidote/issues/204' },
  { name: 'Antidote #420', url: 'https://github.com/AntidoteDB/antidote/issues/420' },
  { name: 'Antidote #489', url: 'https://github.com/AntidoteDB/antidote/issues/489' },
  { name: 'Riak kv #679', url: 'https://github.com/basho/riak_kv/issues/679' },
  { name: 'DEPs #43', url: 'https://github.com/dat-ecosystem-archive/DEPs/pull/43' },
  { name: 'Automerge classic #92', url: 'https://github.com/automerge/automerge-classic/issues/92' },
  { name: 'OrbitDB #512', url: 'https://github.com/orbitdb/orbitdb/issues/512' },
  { name: 'OrbitDB #513', url: 'https://github.com/orbitdb/orbitdb/issues/513' },
  { name: 'NATS #7564', url: 'https://github.com/nats-io/nats-server/issues/7564' },
  { name: 'NATS #6557', url: 'https://github.com/nats-io/nats-server/issues/6557' },
  { name: 'NATS #4710', url: 'https://github.com/nats-io/nats-server/issues/4710' },
  { name: 'Cosmos .NET #5281', url: 'https://github.com/Azure/azure-cosmos-dotnet-v3/issues/5281' },
  { name: 'etcd #14890', url: 'https://github.com/etcd-io/etcd/issues/14890' },
  { name: 'jetcd #1444', url: 'https://github.com/etcd-io/jetcd/issues/1444' },
  { name: 'etcd #16839', url: 'https://github.com/etcd-io/etcd/issues/16839' },
  { name: 'etcd #22264', url: 'https://github.com/etcd-io/etcd/issues/22264' },
  { name: 'etcd #17529', url: 'https://github.com/etcd-io/etcd/issues/17529' },
  { name: 'etcd #9386', url: 'https://github.com/etcd-io/etcd/issues/9386' },
  { name: 'etcd #12824', url: 'https://github.com/etcd-io/etcd/issues/12824' },
  { name: 'Valkey #28', url: 'https://github.com/valkey-io/valkey/issues/28' },
  { name: 'Redis #5766', url: 'https://github.com/redis/redis/issues/5766' },
  { name: 'Automerge classic #400', url: 'https://github.com/automerge/automerge-classic/issues/400' },
  { name: 'automerge #599', url: 'https://github.com/automerge/automerge/pull/599' },
  { name: 'Corrosion #198', url: 'https://github.com/superfly/corrosion/issues/198' },
  { name: 'replicant-client #41', url: 'https://github.com/replicant-sync/replicant-client/issues/41' },
]
