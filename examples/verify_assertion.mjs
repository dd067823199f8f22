// Who is visiting? An app behind a tunnel checks the header `X-Patapim-Assertion`, and need not trust its network.
//
//   import { verifier } from "./verify_assertion.mjs";
//   const visitor = verifier({
//     deployer: "https://deployer.example.com",
//     origin: "https://ada-x7k2mq.tunnel.example.com",
//   });
//   const { name, sub, sid } = await visitor(request.headers["x-patapim-assertion"]); // throws if it is not good
//
// `sub` is the person, for good; `name` may be given to somebody else one day; `sid` is the session.
//
// No package is needed: WebCrypto and fetch are in Node 20 and newer, in Deno, in Bun and in browsers. To try it, run an
// app that greets its visitor: node examples/verify_assertion.mjs DEPLOYER-ORIGIN TUNNEL-ORIGIN [PORT]

const KEYS_ARE_GOOD_FOR = 300 * 1000;
const ASK_AGAIN_AFTER = 10 * 1000;
const CLOCKS_MAY_DIFFER = 60;

const bytes = (base64url) => Uint8Array.from(atob(base64url.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
const json = (base64url) => JSON.parse(new TextDecoder().decode(bytes(base64url)));

/** Gives a function that takes an assertion and gives its claims, or throws. Make one and keep it: it keeps the keys. */
export function verifier({ deployer, origin, now = Date.now }) {
  let keys = new Map();
  let asked = -Infinity;

  async function fetchKeys() {
    asked = now();
    // What a cache on the way holds may be of before a rotation.
    const answer = await fetch(`${deployer}/.well-known/jwks.json`, { cache: "no-cache" });
    if (!answer.ok) {
      throw new Error(`the keys cannot be fetched: ${answer.status}`);
    }
    const algorithm = { name: "ECDSA", namedCurve: "P-256" };
    const read = async (jwk) => [jwk.kid, await crypto.subtle.importKey("jwk", jwk, algorithm, false, ["verify"])];
    keys = new Map(await Promise.all((await answer.json()).keys.map(read)));
  }

  async function find(kid) {
    const age = now() - asked;
    // A key that is not known may be new: the edge signs with it at once. A stranger's nonsense asks only now and then.
    if (age > KEYS_ARE_GOOD_FOR || (!keys.has(kid) && age > ASK_AGAIN_AFTER)) {
      await fetchKeys();
    }
    return keys.get(kid);
  }

  return async (assertion) => {
    const parts = String(assertion).split(".");
    if (parts.length !== 3) {
      throw new Error("no assertion");
    }
    const [header, claims] = [json(parts[0]), json(parts[1])];
    const key = header.alg === "ES256" && (await find(header.kid));
    const signed = new TextEncoder().encode(`${parts[0]}.${parts[1]}`);
    if (!key || !(await crypto.subtle.verify({ name: "ECDSA", hash: "SHA-256" }, key, bytes(parts[2]), signed))) {
      throw new Error("not signed by the edge");
    }
    if (claims.iss !== deployer || claims.aud !== origin) {
      throw new Error("for somebody else");
    }
    const time = now() / 1000;
    if (!(claims.iat <= time + CLOCKS_MAY_DIFFER && time < claims.exp + CLOCKS_MAY_DIFFER)) {
      throw new Error("out of its time");
    }
    return claims;
  };
}

if (globalThis.process?.argv[1]?.endsWith("verify_assertion.mjs")) {
  const [deployer, origin, port = 3000] = process.argv.slice(2);
  const { createServer } = await import("node:http");
  const visitor = verifier({ deployer, origin });
  const app = createServer(async (request, response) => {
    try {
      const { name } = await visitor(request.headers["x-patapim-assertion"]);
      response.end(`Hello, ${name}.\n`);
    } catch (error) {
      response.writeHead(403).end(`Who are you? ${error.message}\n`);
    }
  });
  app.listen(port, "127.0.0.1");
}
