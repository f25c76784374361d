import { createHash, timingSafeEqual } from "node:crypto";
import type { onRequestAsyncHookHandler } from "fastify";

/** A hook that answers 401 to requests without `Authorization: Bearer TOKEN`. */
export function tokenGuard(token: string): onRequestAsyncHookHandler {
  const expected = digest(token);
  return async (request, reply) => {
    const [, given] = /^Bearer (.*)$/i.exec(request.headers.authorization ?? "") ?? [];
    if (given === undefined || !timingSafeEqual(digest(given), expected)) {
      return reply
        .code(401)
        .header("WWW-Authenticate", "Bearer")
        .send({ message: "a valid token is required" });
    }
  };
}

/** Digests have one length, which the comparison in constant time needs. */
function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}
