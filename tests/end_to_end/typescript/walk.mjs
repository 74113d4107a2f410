// A TypeScript MCP client walks through authorization, a call and a step-up, and says on stdout what it sees.
//
//   node walk.mjs sdk|client URL READING [WRITING ARGUMENTS]...
//
// Each line it prints is JSON. After {"open": URL} it waits for one line on stdin: where the browser was sent back to.

import { createInterface } from "node:readline";

const [generation, url, reading, ...calls] = process.argv.slice(2);
const modules = {
  sdk: async () => {
    const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
    const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
    const { UnauthorizedError } = await import("@modelcontextprotocol/sdk/client/auth.js");
    return { Client, StreamableHTTPClientTransport, UnauthorizedError };
  },
  client: () => import("@modelcontextprotocol/client"),
};
const { Client, StreamableHTTPClientTransport, UnauthorizedError } = await modules[generation]();

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

let registered, tokens, verifier;
const provider = {
  redirectUrl: "http://127.0.0.1:43110/callback",
  clientMetadata: {
    client_name: `TypeScript ${generation}`,
    redirect_uris: ["http://127.0.0.1:43110/callback"],
    // Generation 1 answers a 403 with a refresh when it can, and gives up when that brings no new scope.
    grant_types: generation === "sdk" ? ["authorization_code"] : ["authorization_code", "refresh_token"],
    response_types: ["code"],
    token_endpoint_auth_method: "none",
  },
  clientInformation: () => registered,
  saveClientInformation: (information) => { registered = information; },
  tokens: () => tokens,
  saveTokens: (given) => { tokens = given; tell({ granted: given.scope, refreshable: "refresh_token" in given }); },
  redirectToAuthorization: (target) => { tell({ open: target.href }); },
  saveCodeVerifier: (value) => { verifier = value; },
  codeVerifier: () => verifier,
};

async function finish(transport) {
  const { value } = await lines.next();
  const answer = new URL(value).searchParams;
  await (generation === "sdk" ? transport.finishAuth(answer.get("code")) : transport.finishAuth(answer));
}

async function authorized(action, transport) {
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) throw error;
    await finish(transport);
    return await action();
  }
}

const newTransport = () => new StreamableHTTPClientTransport(new URL(url), { authProvider: provider });
const options = generation === "client" ? { versionNegotiation: { mode: "auto" } } : {};
const newClient = () => new Client({ name: "walk", version: "1.0.0" }, options);

let client = newClient();
let transport = newTransport();
try {
  await client.connect(transport);
} catch (error) {
  if (!(error instanceof UnauthorizedError)) throw error;
  await finish(transport);
  client = newClient();
  transport = newTransport();
  await client.connect(transport);
}
tell({ listed: (await client.listTools()).tools.map((tool) => tool.name).sort() });

const read = await client.callTool({ name: reading, arguments: {} });
tell({ called: reading, failed: read.isError ?? false });

while (calls.length > 0) {
  const [writing, argumentsText] = calls.splice(0, 2);
  const write = await authorized(() => client.callTool({ name: writing, arguments: JSON.parse(argumentsText) }), transport);
  tell({ called: writing, failed: write.isError ?? false });
}

await client.close();
tell({ done: true });
process.exit(0);
