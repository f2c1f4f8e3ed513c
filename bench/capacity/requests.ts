import pLimit from 'p-limit'
import { seedPosts } from '../lib/database.ts'
import type { LoadRequest } from '../lib/load.ts'
import type { Topology } from './topologies.ts'

/** One kind of request, and its part of the traffic that machines are planned for. */
export interface Kind {
  readonly name: string
  readonly share: number
  /** How many are sent in a round: a few seconds' worth. */
  readonly count: number
  readonly connections: number
  readonly requests: readonly LoadRequest[]
}

/** More than have events under way at a time: what two of the same user's do to the same row is not what this is about. */
const USERS = 100
/** Of those who read, and of those who write: so few that their events are handled as they come, as on a machine with room. */
const [READERS, WRITERS] = [32, 4]
const password = 'correct horse battery'
const emailOf = (user: number) => `user${user}@example.com`

/** Makes users and posts and says what is asked of them, each user in turn. */
export async function prepare({ port, databaseUrl }: Topology): Promise<Kind[]> {
  const send = async (path: string, body: object, headers = {}) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    })
    if (response.status !== 201) throw new Error(`${path}: ${response.status} ${await response.text()}`)
    return response.json() as Promise<{ token: string; data: { id: string } }>
  }
  const post = { title: 'On engines', content: 'words and more words, '.repeat(14), tags: ['bench', 'fastify'] }
  const register = async (_: unknown, i: number) => {
    const person = { email: emailOf(i), password, firstName: 'Ada', lastName: `N${i}` }
    const { token } = await send('/api/auth/register', person)
    const headers = { authorization: `Bearer ${token}` }
    return { headers, post: (await send('/api/posts', post, headers)).data.id as string }
  }
  const users = await pLimit(WRITERS).map(Array.from({ length: USERS }), register)
  const ids = await seedPosts(databaseUrl)
  const method = 'POST'
  return [
    {
      name: 'GET /api/posts/{id}',
      share: 0.7,
      count: 5_000,
      connections: READERS,
      requests: ids.map((id) => ({ path: `/api/posts/${id}` })),
    },
    { name: 'GET /api/posts', share: 0.2, count: 1_500, connections: READERS, requests: [{ path: '/api/posts' }] },
    {
      name: 'GET /api/profile',
      share: 0.08,
      count: 2_500,
      connections: READERS,
      requests: users.map(({ headers }) => ({ path: '/api/profile', headers })),
    },
    {
      name: 'POST /api/posts',
      share: 0.009,
      count: 500,
      connections: WRITERS,
      requests: users.map(({ headers }) => ({ method, path: '/api/posts', headers, body: post })),
    },
    {
      name: 'POST /api/posts/{id}/comments',
      share: 0.01,
      count: 500,
      connections: WRITERS,
      // On somebody else's post, so that its author is notified.
      requests: users.map(({ headers }, i) => {
        return {
          method,
          path: `/api/posts/${users[(i + 1) % USERS]!.post}/comments`,
          headers,
          body: { content: 'Well said.' },
        }
      }),
    },
    {
      name: 'POST /api/auth/login',
      share: 0.001,
      count: 100,
      connections: WRITERS,
      requests: users.map((_, i) => ({ method, path: '/api/auth/login', body: { email: emailOf(i), password } })),
    },
  ]
}
