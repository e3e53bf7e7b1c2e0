-- What wrk sends, and what it reports, for scripts/bench.sh. load.py sets the environment:
--
--   BENCH_NODES        host:port,…: thread i loads the i-th of them, in turn
--   BENCH_LOAD         check | refused | log
--   BENCH_IDENTIFIERS  how many identifiers, or users of the log
--   BENCH_WINDOW_MS    the window of what is admitted
--   BENCH_VERIFY       1: look at every answer (dearer, so for the warm-up alone)
--
-- `done` prints one line of JSON, after everything that wrk itself prints.

local nodes = {}
for host, port in os.getenv("BENCH_NODES"):gmatch("([^:,]+):(%d+)") do
   nodes[#nodes + 1] = { host = host, port = port }
end
local load = os.getenv("BENCH_LOAD")
local identifiers = tonumber(os.getenv("BENCH_IDENTIFIERS"))
local window_ms = os.getenv("BENCH_WINDOW_MS")
local verify = os.getenv("BENCH_VERIFY") == "1"

-- A limit that is never reached.
local ADMITTED = '{"identifier":"%s-%d","config":{"requests":1000000000,"windowMs":%s},'
   .. '"type":"wix"}'
-- A limit that was reached long ago, in a window that does not end meanwhile.
local FULL = '{"identifier":"full-%d","config":{"requests":1,"windowMs":86400000},"type":"wix"}'
-- One request in so many is admitted where nearly all are refused: 95 % are over their limit.
local ADMITTED_EVERY = 20

-- `details` of this many bytes.
local DETAILS_BYTES = 300
local ENTRY = '{"type":"wix_request","action":"api_call","userId":"user-%d","ip":"192.168.1.1",'
   .. '"details":%s}'

local threads = {}

-- In wrk's own state, once for each thread, before `init` runs in the thread's.
function setup(thread)
   threads[#threads + 1] = thread
   local node = nodes[(#threads - 1) % #nodes + 1]
   thread.addr = wrk.lookup(node.host, node.port)[1]
   thread:set("number", #threads)
end

local function post(path, body)
   return wrk.format("POST", path, { ["Content-Type"] = "application/json" }, body)
end

-- All requests are made before the first is sent, so that sending one costs next to nothing.
local plain, full = {}, {}

function init()
   -- Each warm-up meets other identifiers; what is measured is the same each time.
   math.randomseed((verify and os.time() or 0) * 8 + number)
   local prefix = '{"path":"/api/wix/content","method":"POST","status":200,"note":"'
   local details = prefix .. ("x"):rep(DETAILS_BYTES - #prefix - 2) .. '"}'
   for i = 1, identifiers do
      if load == "log" then
         plain[i] = post("/log", ENTRY:format(i, details))
      elseif load == "refused" then
         plain[i] = post("/check", ADMITTED:format("free", i, window_ms))
         full[i] = post("/check", FULL:format(i))
      else
         plain[i] = post("/check", ADMITTED:format("user", i, window_ms))
      end
   end
   answers, refused, wrong, example = 0, 0, 0, ""
   if verify then
      response = look
   end
end

local sent = 0

function request()
   sent = sent + 1
   local i = math.random(identifiers)
   if load == "refused" and sent % ADMITTED_EVERY > 0 then
      return full[i]
   end
   return plain[i]
end

-- Whether an answer is one that this load may get.
function look(status, headers, body)
   answers = answers + 1
   local right
   if load == "log" then
      right = status == 200 and body:find('"success":true', 1, true)
   elseif status == 429 then
      refused = refused + 1
      right = load == "refused" and body:find('"allowed":false', 1, true)
   else
      right = status == 200 and body:find('"allowed":true', 1, true)
   end
   if not right then
      wrong = wrong + 1
      example = status .. " " .. body:gsub("[%c\"\\]", " "):sub(1, 200)
   end
end

function done(summary, latency)
   local total = { answers = 0, refused = 0, wrong = 0 }
   local example = ""
   for _, thread in ipairs(threads) do
      for name in pairs(total) do
         total[name] = total[name] + thread:get(name)
      end
      if thread:get("example") ~= "" then
         example = thread:get("example")
      end
   end
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests":%d,"seconds":%.6f,"p50_us":%d,"p99_us":%d,"max_us":%d,'
         .. '"broken":%d,"status":%d,"answers":%d,"refused":%d,"wrong":%d,"example":"%s"}\n',
      summary.requests, summary.duration / 1e6,
      latency:percentile(50), latency:percentile(99), latency.max,
      errors.connect + errors.read + errors.write + errors.timeout, errors.status,
      total.answers, total.refused, total.wrong, example))
end
