// What the two programs that sign a user in share: whether tokens are bound to a key, and what comes of it.
//
// Their task has "dpop" as well: whether the client shows a key at every step (RFC 9449).

import { task } from "./person.mjs";

export const MAX_AGE = 300;

let refusals = 0;

// The fetch that the libraries use; it counts the answers that ask for a nonce (RFC 9449 §8).
export async function counting(...request) {
  const answer = await fetch(...request);
  if (answer.status >= 400 && (await answer.clone().text()).includes("use_dpop_nonce")) refusals += 1;
  return answer;
}

// The error of the challenge with which a request is refused (RFC 6750 §3); both libraries throw the same class.
export async function challengeOf(answer) {
  try {
    await answer;
  } catch (error) {
    const [challenge] = error.code === "OAUTH_WWW_AUTHENTICATE_CHALLENGE" ? error.cause : [];
    if (challenge) return challenge.parameters.error;
    throw error;
  }
  return null;
}

const part = (token, number) => JSON.parse(Buffer.from(token.split(".")[number], "base64url"));

// Both programs say the same; `jkt` is the thumbprint of the client's key.
export const seen = ({ metadata, first, second, claims, user, jkt, ...refused }) => ({
  algorithm: part(first.id_token, 0).alg,
  offered: metadata.id_token_signing_alg_values_supported,
  audience: part(first.access_token, 1).aud,
  scope: first.scope,
  methods: claims.amr,
  username: user.preferred_username,
  token_types: [first.token_type, second.token_type].map((type) => type.toLowerCase()),
  bound: [first, second].map((tokens) => task.dpop && part(tokens.access_token, 1).cnf?.jkt === jkt),
  asked_for_a_nonce: refusals,
  ...refused,
});
