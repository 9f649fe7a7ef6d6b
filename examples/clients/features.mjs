// Reads features over HTTP: node features.mjs URL SERVICE '{"user_id": [1], "amount": [9.5]}'
//
// JavaScript's numbers are float64: where whole numbers beyond 2**53 matter, read the answer's text by a parser that
// keeps them. NaN and infinities come as the texts "NaN", "Infinity", "-Infinity", which Number() understands.

export async function features(url, service, entities, token = process.env.FS_TOKEN) {
  const headers = { "content-type": "application/json" };
  if (token) headers.authorization = `Bearer ${token}`;
  const body = JSON.stringify({ service, entities });
  const answer = await fetch(`${url}/v1/features`, { method: "POST", headers, body });
  const found = await answer.json();
  if (!answer.ok) throw new Error(`${found.title}: ${found.detail}`);
  return found.rows;
}

const [url, service, entities] = process.argv.slice(2);
console.log(JSON.stringify(await features(url, service, JSON.parse(entities))));
