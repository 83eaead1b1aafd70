## A Nim workload for the Boehm collector: sequences, strings, tables, reference cycles, closures, exceptions, threads.
import tables, strutils, algorithm, sequtils, os

type
  Node = ref object
    left, right: Node
    number: int
    name: string
  Shape = ref object of RootObj
  Circle = ref object of Shape
    radius: int

method area(s: Shape): int {.base.} = 0
method area(c: Circle): int = 3 * c.radius * c.radius

proc tree(depth, number: int): Node =
  result = Node(number: number, name: "node " & $number)
  if depth > 0:
    result.left = tree(depth - 1, number * 2)
    result.right = tree(depth - 1, number * 2 + 1)

proc sum(n: Node): int =
  if n == nil: 0 else: n.number + n.name.len + sum(n.left) + sum(n.right)

proc trees(): int =
  var kept: seq[Node]
  for i in 0 ..< 60:
    let t = tree(10, i)
    if i mod 10 == 0: kept.add t
    result += sum(t)
  GC_fullCollect()
  for t in kept: result += sum(t)

proc cycles(): int =
  for i in 0 ..< 20000:
    let a = Node(number: i)
    let b = Node(number: i + 1, left: a)
    a.right = b
    result += a.right.left.number

proc texts(): int =
  var t = initTable[string, seq[int]]()
  for i in 0 ..< 50000:
    t.mgetOrPut("key " & $(i * 7919 mod 1009), @[]).add i
  var keys = toSeq(t.keys)
  sort(keys)
  for k in keys: result += k.len * t[k].len + t[k][^1]
  result += join(keys, ",").toUpperAscii.len

proc closures(): int =
  var fs: seq[proc(x: int): int]
  for i in 0 ..< 5000:
    closureScope:
      let n = i
      var state = @[n]
      fs.add(proc(x: int): int = state.add x; state.len + n)
  GC_fullCollect()
  for f in fs: result += f(3)

proc exceptions(): int =
  for i in 0 ..< 5000:
    try:
      if i mod 3 == 0: raise newException(ValueError, "number " & $i)
      result += 1
    except ValueError as e:
      result += e.msg.len

proc shapes(): int =
  var all: seq[Shape]
  for i in 0 ..< 20000: all.add(if i mod 2 == 0: Circle(radius: i mod 100) else: Shape())
  for s in all: result += s.area

when compileOption("threads"):
  var results: array[4, int]
  proc work(n: int) {.thread.} =
    var total = 0
    for i in 0 ..< 30: total += sum(tree(8, n + i))
    results[n] = total
  proc threads(): string =
    var ts: array[4, Thread[int]]
    for i in 0 .. 3: createThread(ts[i], work, i)
    joinThreads(ts)
    $results

# As often as the first argument says.
for round in 1 .. (if paramCount() > 0: parseInt(paramStr(1)) else: 1):
  echo "trees ", trees()
  echo "cycles ", cycles()
  echo "texts ", texts()
  echo "closures ", closures()
  echo "exceptions ", exceptions()
  echo "shapes ", shapes()
  when compileOption("threads"):
    echo "threads ", threads()
quit(5)
