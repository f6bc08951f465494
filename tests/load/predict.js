// k6: a rising number of clients who mostly want a verdict; `make load-test-k6` runs it.
import http from 'k6/http';
import { check, sleep } from 'k6';

const HOST = __ENV.HOST || 'http://127.0.0.1:8080';
const PHOTO = open(__ENV.PHOTO || 'photo.jpg', 'b');
const NAME = (__ENV.PHOTO || 'photo.jpg').split('/').pop();
const HEADERS = __ENV.LOAD_API_KEY ? { 'X-API-Key': __ENV.LOAD_API_KEY } : {};
const EXPLAINED = 0.12; // of all requests
const PREDICTION = ['confidence', 'inference_time_ms', 'model_version', 'prediction', 'probability'];

export const options = {
  scenarios: {
    clients: {
      executor: 'ramping-vus',
      startVUs: 1,
      stages: [
        { duration: '15s', target: 8 },
        { duration: '30s', target: 32 },
        { duration: '15s', target: 0 },
      ],
    },
    probes: { executor: 'constant-arrival-rate', exec: 'probe', rate: 10, duration: '1m', preAllocatedVUs: 4 },
  },
  thresholds: {
    checks: ['rate==1'],
    'http_req_failed{route:predict}': ['rate==0'],
    'http_req_duration{route:predict}': ['p(95)>0'], // shown, not judged: machines differ
    'http_req_duration{route:explain}': ['p(95)>0'],
    'http_req_duration{route:healthz}': ['p(99)<50'],
  },
};

export default function () {
  const explained = Math.random() < EXPLAINED;
  const response = explained ? post('/predict/explain', 'explain') : post('/predict', 'predict');
  const fields = explained ? ['heatmap_base64', ...PREDICTION].sort() : PREDICTION;
  check(response, {
    'status is 200': (answer) => answer.status === 200,
    'fields are as documented': (answer) =>
      answer.status === 200 && String(Object.keys(answer.json()).sort()) === String(fields),
  });
  sleep(0.1 + Math.random() * 0.4);
}

export function probe() {
  const response = http.get(`${HOST}/healthz`, { tags: { route: 'healthz' } });
  check(response, { 'alive': (answer) => answer.status === 200 });
}

function post(path, route) {
  return http.post(`${HOST}${path}`, { file: http.file(PHOTO, NAME) }, { headers: HEADERS, tags: { route } });
}
