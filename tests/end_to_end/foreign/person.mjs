// What all programs share: their task, the person with the browser, and how they say what they saw.
//
//   node CLIENT.mjs '{"issuer", "resource", "scope", "redirect_uri", "client_id"?, "client_secret"?, "push"?}'
//
// Without a client_id the client registers itself; with `push` it hands its request in (RFC 9126). Each line printed
// is JSON; after {"open": URL} one line is read from stdin: where the browser was sent back to. After {"device": URL,
// "done": URL} the person goes to the one and arrives at the other, and nothing is read.

import { createInterface } from "node:readline";

export const task = JSON.parse(process.argv[2]);
export const issuer = new URL(task.issuer);

export const registration = {
  client_name: "Foreign",
  redirect_uris: [task.redirect_uri],
  grant_types: ["authorization_code", "refresh_token"],
  response_types: ["code"],
  token_endpoint_auth_method: "none",
};

export const deviceRegistration = {
  client_name: "Foreign",
  grant_types: ["urn:ietf:params:oauth:grant-type:device_code", "refresh_token"],
  token_endpoint_auth_method: "none",
};

export const tell = (event) => process.stdout.write(`${JSON.stringify(event)}\n`);

export async function visit(url) {
  const stdin = createInterface({ input: process.stdin });
  const lines = stdin[Symbol.asyncIterator]();
  tell({ open: url.href });
  const { value } = await lines.next();
  // One visit is all; a stdin that is still read would keep the process alive.
  stdin.close();
  process.stdin.destroy();
  return new URL(value);
}

// The error code that the server answers with; anything else than such an answer is the test's failure.
export async function errorOf(answer) {
  try {
    await answer;
  } catch (error) {
    if (typeof error.error === "string") return error.error;
    throw error;
  }
  return null;
}
