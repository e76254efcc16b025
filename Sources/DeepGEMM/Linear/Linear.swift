// SPDX-License-Identifier: MIT

public import KernelDispatch
internal import Kernels
internal import Workers

/// Computes a group of independent products D (+)= A·Bᵀ in one parallel region.
///
/// A linear layer is a group of one; the experts of a layer, each with its own rows, are the M-grouped product of
/// DeepGEMM. Each output is the sum of its products in an order that depends on the summed dimension alone: chunks of
/// `linearChunk` in ascending order, eight interleaved partial sums inside a chunk. So a row's result does not
/// depend on the other rows, the grouping, the number of threads or which path (direct or panel) computed it.
/// With FP8 weights the block scale multiplies the activation (one rounding to float32), then the code.
public func linear(_ problems: [LinearProblem], on context: ComputeContext) {
    var tasks: [LinearTask] = []
    let share = workPerTask(problems, threadCount: context.team.threadCount)
    for (index, problem) in problems.enumerated() where problem.rowCount > 0 {
        let width = outputsPerTask(problem, work: share)
        var first = problem.outputs.lowerBound
        while first < problem.outputs.upperBound {
            let end = min(first + width, problem.outputs.upperBound)
            tasks.append(LinearTask(problem: index, firstOutput: first, endOutput: end))
            first = end
        }
    }
    let kernels = context.kernels
    context.team.run(taskCount: tasks.count) { task, worker in
        let part = tasks[task]
        runLinear(problems[part.problem], part, kernels, scratch: context.scratch(of: worker))
    }
}

/// A range of one problem's outputs.
private struct LinearTask {
    var problem: Int
    var firstOutput: Int
    var endOutput: Int
}

/// Work of one output: weights decoded, and multiplied with four rows at a time or fewer.
private func workPerOutput(_ problem: LinearProblem) -> Int {
    problem.weight.inputCount * max(1, problem.rowCount / 4)
}

/// The work of one task: enough to be worth handing out and to walk far over the same weight, little enough to keep
/// every thread busy to the end.
private func workPerTask(_ problems: [LinearProblem], threadCount: Int) -> Int {
    let minimum = 1 << 16
    let total = problems.reduce(0) { $0 + $1.outputs.count * workPerOutput($1) }
    return max(minimum, threadCount == 1 ? total : total / (threadCount * 8))
}

/// How many of a problem's outputs come to that work: a multiple of 64, a fraction of a panel and of a block of scales.
private func outputsPerTask(_ problem: LinearProblem, work: Int) -> Int {
    max(1, min(work / max(workPerOutput(problem), 1), 2048) / 64) * 64
}

private func runLinear(
    _ problem: LinearProblem, _ task: LinearTask, _ kernels: KernelTable, scratch: UnsafeMutablePointer<Float>
) {
    let weight = problem.weight
    // SAFETY: `out` is shifted so that the kernel can index it by the weight's row; only rows of the task are touched.
    var arguments = LinearArguments(
        a: problem.a, aStride: problem.aStride, rowCount: problem.rowCount, columnCount: weight.inputCount,
        w: weight.baseAddress, wStride: weight.rowStride,
        scales: weight.scalePointer, scaleStride: weight.scaleStride, blockRows: weight.blockRows,
        blockColumns: weight.blockColumns,
        firstOutput: task.firstOutput, endOutput: task.endOutput,
        out: problem.out - problem.outputs.lowerBound, outStride: problem.outStride,
        accumulates: problem.accumulates, scratch: scratch)
    switch weight.format {
    case .float32: kernels.linearFloat32(&arguments)
    case .bfloat16: kernels.linearBFloat16(&arguments)
    case .float16: kernels.linearFloat16(&arguments)
    case .float8E4M3: kernels.linearFloat8E4M3(&arguments)
    }
}
