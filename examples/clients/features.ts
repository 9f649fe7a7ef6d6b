// Reads features over HTTP, with types that are made from the server's OpenAPI document:
//
//   npm install
//   npx openapi-typescript http://127.0.0.1:8000/openapi.json -o server.d.ts
//   npx tsc --strict --skipLibCheck --target es2022 --module nodenext features.ts
//   node features.js http://127.0.0.1:8000 SERVICE '{"user_id": [1], "amount": [9.5]}'
//
// What features.mjs says of numbers holds here, too.

import type { components, paths } from "./server.d.ts";

type Read = paths["/v1/features"]["post"];
type Asked = Read["requestBody"]["content"]["application/json"];
type Found = Read["responses"][200]["content"]["application/json"];
type Problem = components["schemas"]["Problem"];

declare const process: { argv: string[]; env: Record<string, string | undefined> };

export async function features(url: string, asked: Asked, token = process.env.FS_TOKEN): Promise<Found> {
  const headers: Record<string, string> = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const answer = await fetch(`${url}/v1/features`, { method: "POST", headers, body: JSON.stringify(asked) });
  const found: Found | Problem = await answer.json();
  if ("detail" in found) throw new Error(`${found.title}: ${found.detail}`);
  return found;
}

const [url, service, entities] = process.argv.slice(2);
const { rows, status } = await features(url, { service, entities: JSON.parse(entities) });
const missing = Object.values(status).filter((marks) => marks.every((mark) => mark === "missing")).length;
console.log(JSON.stringify({ rows, missing }));
