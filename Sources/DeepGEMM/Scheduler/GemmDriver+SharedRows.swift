// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Workers

// SAFETY: In this file pointers are to the memory that the workers share, of which each packing task writes rows of its
// own, and to scratch memory of the worker that runs the task.

/// Rows of A that are packed once and read by every task that multiplies them.
///
/// Problems are computed in waves, as many at a time as the shared memory has room for; first all threads pack the
/// wave's rows, then they multiply. A problem whose rows do not fit is cut along them.
extension GemmDriver {
    /// Packed rows of some problems, side by side.
    struct Wave {
        var problems: Range<Int>
        /// Where the rows of each begin, in floats; -1 where tasks read or pack rows themselves.
        var starts: [Int]
    }

    /// Floats of one packed row of a chunk.
    static func packedRowCount(isPaired: Bool) -> Int { isPaired ? pairRowBytes / 4 : GemmScratch.packedStride }

    /// Floats that all packed rows of a problem take.
    func sharedCount(_ problem: GemmProblem) -> Int {
        let chunks = problem.segmentCount * ceilDivide(problem.depth, linearChunk)
        return problem.rowCount * chunks * Self.packedRowCount(isPaired: isPaired(problem))
    }

    /// A problem as parts whose packed rows fit the shared memory; one part if not even some blocks of rows do.
    func parts(_ problem: GemmProblem) -> [GemmProblem] {
        let room = sharedCount(problem.rows(0..<1))
        let most = ComputeContext.sharedCount / max(room, 1) / GemmScratch.rowBlock * GemmScratch.rowBlock
        guard problem.rowCount > most, most >= Self.fewestSharedRows else { return [problem] }
        let count = ceilDivide(problem.rowCount, most)
        let size = ceilDivide(ceilDivide(problem.rowCount, count), GemmScratch.rowBlock) * GemmScratch.rowBlock
        return stride(from: 0, to: problem.rowCount, by: size).map {
            problem.rows($0..<min($0 + size, problem.rowCount))
        }
    }

    /// Fewer rows at a time would read B too often.
    private static var fewestSharedRows: Int { 4 * GemmScratch.rowBlock }

    /// Problems from `first` on whose packed rows fit the shared memory together.
    func wave(from first: Int) -> Wave {
        var wave = Wave(problems: first..<first, starts: [])
        var used = 0
        for index in first..<problems.count {
            let count = sharesRows(problems[index]) ? sharedCount(problems[index]) : 0
            if used + count > ComputeContext.sharedCount { break }
            wave.starts.append(count == 0 ? -1 : used)
            used += count
            wave.problems = first..<index + 1
        }
        return wave
    }

    /// Packs a wave's rows, some of a chunk in a task.
    func pack(_ wave: Wave, into memory: UnsafeMutablePointer<Float>, on context: ComputeContext) {
        var ends: [Int] = []
        var end = 0
        for (place, index) in wave.problems.enumerated() {
            if wave.starts[place] >= 0 { end += packTaskCount(problems[index]) }
            ends.append(end)
        }
        context.team.run(taskCount: end) { task, worker in
            let place = Self.search(ends, task)
            let problem = problems[wave.problems.lowerBound + place]
            let local = task - ends[place] + packTaskCount(problem)
            let (chunk, block) = local.quotientAndRemainder(
                dividingBy: ceilDivide(problem.rowCount, GemmScratch.packRows))
            let rows = block * GemmScratch.packRows..<min((block + 1) * GemmScratch.packRows, problem.rowCount)
            let tile = GemmTile(
                problem: problem, epilogue: epilogue, kernels: context.kernels, rows: rows, columns: 0..<0,
                shared: memory + wave.starts[place])
            tile.packShared(
                chunk: chunk, isPaired(problem) ? context.pairKernels : nil, context.scratch(of: worker))
        }
    }

    private func packTaskCount(_ problem: GemmProblem) -> Int {
        problem.segmentCount * ceilDivide(problem.depth, linearChunk)
            * ceilDivide(problem.rowCount, GemmScratch.packRows)
    }
}

extension GemmTile {
    /// Where the task's rows of a chunk lie in shared memory.
    func sharedRows(chunk: Int, of shared: UnsafeMutablePointer<Float>, isPaired: Bool) -> UnsafeMutablePointer<Float> {
        shared + (chunk * problem.rowCount + rows.lowerBound) * GemmDriver.packedRowCount(isPaired: isPaired)
    }

    /// Packs the task's rows of a chunk, counted through all segments, to shared memory.
    func packShared(chunk: Int, _ pairs: PairKernels?, _ scratch: UnsafeMutablePointer<Float>) {
        guard let shared else { return }
        let (segment, index) = chunk.quotientAndRemainder(dividingBy: ceilDivide(problem.depth, linearChunk))
        let depth = index * linearChunk..<min((index + 1) * linearChunk, problem.depth)
        let out = sharedRows(chunk: chunk, of: shared, isPaired: pairs != nil)
        if let pairs {
            packPairRows(
                depth, segment, into: UnsafeMutableRawPointer(out), stride: pairRowBytes, staging: scratch, pairs)
        } else {
            packRows(depth, segment, into: out, table: scratch)
        }
    }
}
