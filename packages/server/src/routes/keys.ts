/** API keys, and browser sessions made with them. */
import type { FastifyRequest } from "fastify";
import type { AccessKey } from "sluice";
import { principalOf, sessionCookie, tokenOf, unauthenticated } from "../auth.js";
import { operations } from "../contract/index.js";
import type { Deps } from "../deps.js";
import { byOf, type Principal } from "../principal.js";
import { Problem } from "../problem.js";
import type { Mount } from "../route.js";
import { text } from "../views.js";

const sessionMs = 12 * 60 * 60 * 1_000;

export function keyRoutes(mount: Mount, deps: Deps): void {
  const { queue, now, prefix } = deps;
  /** Keys open all types, or make keys that do. @throws {Problem} forbidden */
  const requireAllTypes = ({ types }: Principal) => {
    if (types === null) return;
    throw new Problem("forbidden", "Keys are for admins of all types; this key is for some.");
  };
  const ring = () => {
    if (deps.ring !== null) return deps.ring;
    throw new Problem("not_found", "There are no keys here: the application says itself who may do what.");
  };

  mount(operations.listKeys, async ({ principal }) => {
    ring();
    requireAllTypes(principal);
    const keys = await queue.accessKeys();
    return { status: 200, body: { keys: keys.filter(({ parent }) => parent === null).map(keyBody) } };
  });

  mount(operations.createKey, async ({ body, principal, request }) => {
    const { name, roles, types, canReadPayloads, expiresAt } = body;
    requireAllTypes(principal);
    // From the first key on everybody needs one: it must be one that can make others.
    if ((await ring().isEmpty()) && !roles.includes("admin")) {
      throw new Problem(
        "invalid_request",
        "The first key must be one of an admin: without, nobody could make another.",
        {
          errors: [{ pointer: "/roles", detail: "takes admin, for the first key" }],
        },
      );
    }
    const { key, token } = await queue.createAccessKey(
      {
        name,
        roles,
        canReadPayloads,
        ...(types != null && { types }),
        ...(expiresAt != null && { expiresAt: new Date(expiresAt) }),
      },
      byOf(principal, request, body),
    );
    ring().forget();
    return { status: 201, body: { key: keyBody(key), token } };
  });

  mount(operations.revokeKey, async ({ params, principal, request }) => {
    ring();
    requireAllTypes(principal);
    const isThere = await queue.revokeAccessKey(params.id, byOf(principal, request, {}));
    ring().forget();
    if (!isThere) throw new Problem("not_found", "There is no such key, or it was revoked before.");
    return { status: 204 };
  });

  mount(operations.openSession, async ({ body, request }) => {
    const key = await ring().find(body.key);
    if (key === null || key.parent !== null) throw unauthenticated("The key is not known, or not good any more.");
    const expiresAt = new Date(Math.min(now() + sessionMs, key.expiresAt ?? Infinity));
    const session = await queue.createSession(key, { expiresAt });
    // Revoked in this very moment.
    if (session === null) throw unauthenticated("The key is not known, or not good any more.");
    ring().forget();
    const cookie = cookieOf(request, {
      token: session.token,
      seconds: (expiresAt.getTime() - now()) / 1_000,
      path: prefix,
    });
    return { status: 200, body: sessionBody(principalOf(session.key)), headers: { "set-cookie": cookie } };
  });

  mount(operations.readSession, async ({ principal }) => ({ status: 200, body: sessionBody(principal) }));

  mount(operations.closeSession, async ({ request }) => {
    const token = tokenOf(request);
    const key = token === null ? null : await ring().find(token);
    if (key !== null && key.parent !== null)
      await queue.revokeAccessKey(key.id, { actor: key.name, requestId: request.id });
    ring().forget();
    return { status: 204, headers: { "set-cookie": cookieOf(request, { token: "", seconds: 0, path: prefix }) } };
  });
}

function cookieOf(
  { protocol }: Pick<FastifyRequest, "protocol">,
  { token, seconds, path }: { readonly token: string; readonly seconds: number; readonly path: string },
): string {
  const secure = protocol === "https" ? "; Secure" : "";
  return `${sessionCookie}=${token}; Path=${path === "" ? "/" : path}; Max-Age=${Math.floor(seconds)}; HttpOnly; SameSite=Strict${secure}`;
}

function sessionBody({ name, roles, types, canReadPayloads, expiresAt }: Principal) {
  return { name, roles, types, canReadPayloads, expiresAt: expiresAt?.toISOString() ?? null };
}

function keyBody({ id, name, hint, roles, types, canReadPayloads, createdAt, expiresAt, revokedAt }: AccessKey) {
  return {
    id,
    name,
    hint,
    roles,
    types,
    canReadPayloads,
    createdAt: text(createdAt),
    expiresAt: expiresAt === null ? null : text(expiresAt),
    revokedAt: revokedAt === null ? null : text(revokedAt),
  };
}
