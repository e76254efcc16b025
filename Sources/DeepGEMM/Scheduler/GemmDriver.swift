// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Telemetry
internal import Workers

/// Runs a group of products: the one driver of this module.
///
/// Each output is the sum of its products in an order that depends on K alone: chunks of `linearChunk` in ascending
/// order, eight interleaved partial sums inside a chunk, or those of `PairBlockArguments`. So a row's bits do not
/// depend on the other rows, the grouping, the number of threads, the blocking or the path that computed it.
struct GemmDriver {
    var problems: [GemmProblem]
    var epilogue = Epilogue()
    private let cacheSize: Int
    /// Whether the kernels that will run this multiply bfloat16 pairs.
    private let multipliesPairs: Bool
    /// Multiply-adds that a task should have at least.
    private var workPerTask = 0
    /// Threads among which one product alone is divided.
    private var threadCount = 1
    private(set) var blockings: [GemmBlocking] = []
    /// Tasks of the problems up to and including each one.
    private(set) var taskEnds: [Int] = []

    init(
        _ problems: [GemmProblem], epilogue: Epilogue = Epilogue(), threadCount: Int, multipliesPairs: Bool,
        cacheSize: Int = GemmShape.machineCacheSize
    ) {
        self.cacheSize = cacheSize
        self.multipliesPairs = multipliesPairs
        self.problems = []
        self.epilogue = epilogue
        let whole = problems.filter { $0.rowCount > 0 && !$0.outputs.isEmpty }
        // Units of 2¹⁶ multiply-adds, so that sums of many products do not overflow.
        let total = whole.reduce(0) { $0 + $1.work }
        let share = threadCount == 1 ? total : total / (threadCount * 4)
        workPerTask = min(share, 1 << 40) << 16
        self.threadCount = whole.count == 1 ? threadCount : 1
        self.problems.reserveCapacity(whole.count)
        blockings.reserveCapacity(whole.count)
        taskEnds.reserveCapacity(whole.count)
        var end = 0
        for problem in whole {
            let parts = parts(problem)
            var blocking = GemmBlocking(shape(of: parts[0]))
            for part in parts {
                blocking.rowTasks = ceilDivide(part.rowCount, blocking.taskRows)
                self.problems.append(part)
                blockings.append(blocking)
                end += blocking.taskCount
                taskEnds.append(end)
            }
        }
    }

    /// As a team and its kernels would take them.
    init(_ problems: [GemmProblem], epilogue: Epilogue = Epilogue(), for context: ComputeContext) {
        self.init(
            problems, epilogue: epilogue, threadCount: context.team.threadCount,
            multipliesPairs: context.pairKernels != nil)
    }

    /// What a problem's blocking depends on.
    private func shape(of problem: GemmProblem) -> GemmShape {
        GemmShape(
            rowCount: problem.rowCount, columnCount: epilogue.columnCount(outputs: problem.outputs.count),
            depth: problem.depth * problem.segmentCount, hasGate: epilogue.gate,
            orderB: problem.b.order, directRows: directRows(problem), sharesRows: sharesRows(problem),
            workPerTask: workPerTask, threadCount: threadCount,
            columnUnit: problem.d.format == .float8E4M3 ? 128 : 32,
            aheadBytes: isPaired(problem) || problem.b.order == .mnMajor
                ? 0 : min(linearChunk, problem.depth) * problem.b.format.bitCount / 8,
            chunkCount: problem.splitsChunks ? problem.chunkCount : 1, cacheSize: cacheSize)
    }

    /// Whether a problem's rows are packed for all its tasks at once.
    func sharesRows(_ problem: GemmProblem) -> Bool {
        problem.rowCount > directRows(problem) && sharedCount(problem) <= ComputeContext.sharedCount
    }

    /// Whether a problem is multiplied in pairs.
    func isPaired(_ problem: GemmProblem) -> Bool { multipliesPairs && problem.isPaired }

    /// Rows of A up to which B is multiplied as it lies; 0 if it cannot.
    private func directRows(_ problem: GemmProblem) -> Int {
        guard isPaired(problem) else {
            guard Self.allowsDirect(problem) else { return 0 }
            return problem.b.format == .float4E2M1 ? float4DirectRows : floatDirectRows
        }
        return problem.b.order == .kMajor && problem.hasWideScales ? pairDirectRows : 0
    }

    /// Rows of float products up to which B is multiplied as it lies. Processors of pairs have tiles of 512 bits, which
    /// pay for packing B earlier.
    private var floatDirectRows: Int { multipliesPairs ? Self.wideDirectRows : linearDirectRows }
    static let wideDirectRows = 12

    /// Whether B can be multiplied as it lies, and its scales and A's packed rows fit the scratch memory.
    private static func allowsDirect(_ problem: GemmProblem) -> Bool {
        let b = problem.b
        guard b.order == .kMajor else { return false }
        if b.format == .float4E2M1 {
            let blocks = ceilDivide(problem.depth, b.scales?.granularity.columns ?? problem.depth + 1)
            return directDepth(problem) > 0 && GemmScratch.float4Rows(blocks: blocks) > 0
        }
        guard b.format == .float8E4M3 else { return b.scales == nil && directDepth(problem) > 0 }
        return b.isCodeOrdered && directDepth(problem) > 0 && directTableCount(problem) <= GemmScratch.directTableCount
    }

    /// Elements of K that the direct path takes at a time: all that is left if A is read where it lies, else what fits
    /// its packed rows in whole chunks and whole blocks of scales; 0 if nothing does.
    static func directDepth(_ problem: GemmProblem) -> Int {
        guard !problem.readsRowsInPlace else { return max(problem.depth, 1) }
        let room = GemmScratch.directPackedCount / max(1, problem.rowCount) / linearChunk * linearChunk
        if problem.depth <= room - elementGroup { return max(problem.depth, 1) }
        guard let width = problem.b.scales?.granularity.columns else { return room }
        var depth = room
        while depth > 0, depth % width != 0 { depth -= linearChunk }
        return depth
    }

    /// Scales of B that a task of the direct path gathers, at most.
    private static func directTableCount(_ problem: GemmProblem) -> Int {
        guard let granularity = problem.b.scales?.granularity else { return 1 }
        let rows = min(problem.outputs.count, GemmScratch.directColumns) / granularity.rows + 2
        return rows * ceilDivide(problem.depth, granularity.columns)
    }

    /// Tasks of all problems.
    var taskCount: Int { taskEnds.last ?? 0 }

    /// How a problem of this group is cut.
    func blocking(of problem: GemmProblem) -> GemmBlocking {
        let parts = parts(problem)
        var blocking = GemmBlocking(shape(of: parts[0]))
        blocking.rowTasks = parts.reduce(0) { $0 + ceilDivide($1.rowCount, blocking.taskRows) }
        return blocking
    }

    /// Floats of a problem's packed rows that its tasks share at a time; 0 where they do not.
    func sharedCount(atOnce problem: GemmProblem) -> Int {
        let part = parts(problem)[0]
        return sharesRows(part) ? sharedCount(part) : 0
    }

    /// Computes all of it.
    func run(on context: ComputeContext) {
        let span = Spans.begin()
        defer {
            Spans.end(
                span, .gemm, problems.reduce(0) { $0 + $1.rowCount }, problems.first?.outputs.count ?? 0,
                problems.first?.depth ?? 0)
        }
        if let blocking = blockings.first, blocking.depthTasks > 1 {
            return runSplit(problems[0], blocking, on: context)
        }
        guard problems.contains(where: sharesRows) else {
            return run(Wave(problems: problems.indices, starts: []), nil, context)
        }
        context.withShared { memory in
            var first = 0
            while first < problems.count {
                let wave = wave(from: first)
                pack(wave, into: memory, on: context)
                run(wave, memory, context)
                first = wave.problems.upperBound
            }
        }
    }

    /// Multiplies a wave.
    private func run(_ wave: Wave, _ shared: UnsafeMutablePointer<Float>?, _ context: ComputeContext) {
        let bundles = bundles(of: wave.problems, threadCount: context.team.threadCount)
        context.team.run(taskCount: bundles.count) { index, worker in
            let scratch = context.scratch(of: worker)
            var task = bundles[index].lowerBound
            while task < bundles[index].upperBound {
                task = run(task..<bundles[index].upperBound, wave, shared, context, scratch)
            }
        }
    }

    /// The first place whose end lies behind `task`.
    static func search(_ ends: [Int], _ task: Int) -> Int {
        var low = 0
        var high = ends.count - 1
        while low < high {
            let middle = (low + high) / 2
            if ends[middle] > task { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Runs the first of some tasks, and neighbours that are multiplied with it as one. Returns the next task.
    private func run(
        _ tasks: Range<Int>, _ wave: Wave, _ shared: UnsafeMutablePointer<Float>?, _ context: ComputeContext,
        _ scratch: UnsafeMutablePointer<Float>
    ) -> Int {
        let index = Self.search(taskEnds, tasks.lowerBound)
        let blocking = blockings[index]
        let local = tasks.lowerBound - (taskEnds[index] - blocking.taskCount)
        let (column, row) = local.quotientAndRemainder(dividingBy: blocking.rowTasks)
        let problem = problems[index]
        let columnCount = epilogue.columnCount(outputs: problem.outputs.count)
        let start = shared == nil ? -1 : wave.starts[index - wave.problems.lowerBound]
        let count = blocking.path == .direct ? neighbours(in: tasks, problem: index) : 1
        let tile = GemmTile(
            problem: problem, epilogue: epilogue, kernels: context.kernels,
            rows: row * blocking.taskRows..<min((row + 1) * blocking.taskRows, problem.rowCount),
            columns: column * blocking.taskColumns..<min((column + count) * blocking.taskColumns, columnCount),
            shared: start < 0 ? nil : shared.map { $0 + start })
        switch (blocking.path, isPaired(problem) ? context.pairKernels : nil) {
        case (.direct, let pairs?): tile.runPairDirect(pairs, scratch)
        case (.panel, let pairs?): tile.runPairPanels(blocking, pairs, scratch)
        case (.direct, nil): tile.runDirect(scratch)
        case (.panel, nil): tile.runPanels(blocking, scratch)
        }
        return tasks.lowerBound + count
    }

    /// How many of the first of some tasks lie side by side in one problem on the direct path, and fit the scratch
    /// memory together.
    private func neighbours(in tasks: Range<Int>, problem index: Int) -> Int {
        let most = GemmScratch.directColumns / (epilogue.gate ? 2 : 1) / blockings[index].taskColumns
        return min(tasks.upperBound, taskEnds[index], tasks.lowerBound + max(1, most)) - tasks.lowerBound
    }
}
