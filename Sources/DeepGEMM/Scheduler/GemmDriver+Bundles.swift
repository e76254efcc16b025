// SPDX-License-Identifier: MIT

/// Which tasks a thread takes at a time.
///
/// A task of the panel path is as large as leaves every thread busy to the end, and is taken alone. On the direct path
/// memory decides how fast a thread is, and it favours now one core and now the other: threads first take long runs of
/// small tasks, whose weights follow each other in memory, and shorter ones the less is left. So they end together.
extension GemmDriver {
    /// How much of its part of the remaining work a thread takes at once.
    private static let runShare = 0.7
    /// The team counts up to 2²⁰ tasks.
    private static let mostBundles = 1 << 19

    /// The tasks of some problems, in order, as runs that are taken at once.
    func bundles(of problems: Range<Int>, threadCount: Int) -> [Range<Int>] {
        guard let last = problems.last else { return [] }
        let start = problems.lowerBound == 0 ? 0 : taskEnds[problems.lowerBound - 1]
        let least = max(1, ceilDivide(taskEnds[last] - start, Self.mostBundles))
        let share = threadCount == 1 ? 1 : Self.runShare / Double(threadCount)
        var remaining = problems.reduce(0) { $0 + taskWork($1) * Double(blockings[$1].taskCount) }
        var bundles: [Range<Int>] = []
        var first = start
        var next = start
        var work = 0.0
        var mayGrow = true
        for problem in problems {
            let each = taskWork(problem)
            let isDirect = blockings[problem].path == .direct
            while next < taskEnds[problem] {
                let isFull = !mayGrow || !isDirect || work + each > remaining * share
                if next > first, isFull, next - first >= least {
                    bundles.append(first..<next)
                    remaining -= work
                    (first, work) = (next, 0)
                }
                mayGrow = isDirect
                work += each
                next += 1
            }
        }
        if next > first { bundles.append(first..<next) }
        return bundles
    }

    /// Multiply-adds of a task.
    private func taskWork(_ problem: Int) -> Double {
        let blocking = blockings[problem]
        return Double(blocking.taskRows * blocking.taskColumns) * Double(problems[problem].depth)
    }
}
