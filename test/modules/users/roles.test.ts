import t from 'tap'
import type { User } from '../../api/client.ts'
import { startUsers } from './start.ts'

t.test('somebody is always an admin', async (t) => {
  const { api, sql } = await startUsers(t)
  const demote = (user: User, by: User) =>
    api.send('PUT', `/api/users/${user.id}/roles`, { token: by.token, json: { roles: ['member'] } })
  const remove = (user: User, by: User) => api.send('DELETE', `/api/users/${user.id}`, { token: by.token })
  const admins = async () => (await sql`select 1 from users.users where 'admin' = any(roles)`).length
  const only = await api.admin()

  await t.test('the last one cannot be made less, nor leave', async (t) => {
    for (const answer of [await demote(only, only), await remove(only, only)]) {
      t.match([answer.status, answer.body.code], [409, 'LastAdmin'])
    }
    t.equal(await admins(), 1)
  })

  for (const [what, act] of Object.entries({
    'take the role from each other': (one: User, two: User) => [demote(two, one), demote(one, two)],
    'give up the role': (one: User, two: User) => [demote(one, one), demote(two, two)],
    'delete each other': (one: User, two: User) => [remove(two, one), remove(one, two)],
    leave: (one: User, two: User) => [remove(one, one), demote(two, two)],
  })) {
    await t.test(`also when the last two ${what} at the same moment`, async (t) => {
      for (let round = 0; round < 4; round++) {
        const [one, two] = [await api.admin(), await api.admin()]
        await sql`update users.users set roles = array['member'] where not (id = any(${[one.id, two.id]}::uuid[]))`
        const statuses = (await Promise.all(act(one, two))).map(({ status }) => status)
        t.equal(statuses.filter((status) => status < 300).length, 1, statuses.join(' and '))
        t.ok(
          statuses.every((status) => [200, 204, 401, 403, 404, 409].includes(status)),
          'nothing worse than a refusal',
        )
        t.equal(await admins(), 1)
      }
    })
  }
})

t.test('roles whose commit fails are in no session', async (t) => {
  const { api, sql } = await startUsers(t)
  const [admin, ada] = [await api.admin(), await api.register()]
  const give = (roles: string[]) =>
    api.send('PUT', `/api/users/${ada.id}/roles`, { token: admin.token, json: { roles } })
  const list = async () => (await api.get('/api/users', { token: ada.token })).status
  await sql.unsafe(`
    create function users.fail() returns trigger language plpgsql as $$ begin raise 'It is not to be.'; end $$;
    create constraint trigger fails after update on users.users deferrable initially deferred
      for each row when ('admin' = any(new.roles)) execute function users.fail()`)
  t.equal((await give(['member', 'admin'])).status, 500)
  t.equal(await list(), 403)
  await sql`drop trigger fails on users.users`
  t.equal((await give(['member', 'admin'])).status, 200)
  t.equal(await list(), 200)
})

t.test('operators give roles', async (t) => {
  const { api, topology } = await startUsers(t)
  const ada = await api.register()
  const list = async () => (await api.get('/api/users', { token: ada.token })).status
  t.equal(await list(), 403)
  t.equal(
    await topology.operate('grant', ada.email.toUpperCase(), 'admin'),
    `${ada.email.toUpperCase()} is now member, admin.`,
  )
  t.equal(await list(), 200, 'in the session that is under way')
  t.match(await topology.operate('grant', ada.email, 'admin'), 'member, admin', 'again')
  await t.rejects(topology.operate('grant', ada.email, 'king'), {
    message: 'There is no role "king". Known: member, moderator, admin.',
  })
  await t.rejects(topology.operate('grant', 'nobody@example.com', 'admin'), { message: /no user with the address/ })
  for (const args of [[], [ada.email], [ada.email, 'admin', 'more']]) {
    await t.rejects(topology.operate('grant', ...args), { message: 'It takes an address and a role.' })
  }
})
