// SPDX-License-Identifier: MIT

internal import KernelDispatch
internal import Kernels
internal import Workers

// SAFETY: In this file pointers are to the memory that the workers share, of which each task writes the sums of its own
// columns and chunks, and to scratch memory of the worker that runs the task.

/// Few rows of few columns, whose threads divide K.
///
/// Every chunk's sums are kept apart, and at the end added to D's in ascending order, which is what one thread does
/// that goes through K alone: so the bits are the same whatever the number of parts.
extension GemmDriver {
    /// Computes one product whose blocking has parts of K.
    func runSplit(_ problem: GemmProblem, _ blocking: GemmBlocking, on context: ComputeContext) {
        let pairs = isPaired(problem) ? context.pairKernels : nil
        func makeTile(_ column: Int) -> GemmTile {
            let columns = epilogue.columnCount(outputs: problem.outputs.count)
            let first = column * blocking.taskColumns
            return GemmTile(
                problem: problem, epilogue: epilogue, kernels: context.kernels, rows: 0..<problem.rowCount,
                columns: first..<min(first + blocking.taskColumns, columns))
        }
        let chunks = problem.chunkCount
        let stride = blocking.taskColumns * (epilogue.gate ? 2 : 1)
        let size = problem.rowCount * stride
        context.withShared { memory in
            context.team.run(taskCount: blocking.columnTasks * blocking.depthTasks) { task, worker in
                let (column, part) = task.quotientAndRemainder(dividingBy: blocking.depthTasks)
                let tile = makeTile(column)
                for chunk in part * chunks / blocking.depthTasks..<(part + 1) * chunks / blocking.depthTasks {
                    tile.addChunk(
                        chunk, to: memory + (column * chunks + chunk) * size, stride: stride, pairs,
                        context.scratch(of: worker))
                }
            }
            context.team.run(taskCount: blocking.columnTasks) { column, worker in
                let scratch = context.scratch(of: worker)
                let sums = scratch + GemmScratch.lineCount
                let tile = makeTile(column)
                tile.start(sums, stride: stride)
                for chunk in 0..<chunks {
                    for row in 0..<problem.rowCount {
                        context.kernels.addScaled(
                            memory + (column * chunks + chunk) * size + row * stride, 1, sums + row * stride,
                            tile.width)
                    }
                }
                tile.finish(sums, stride: stride, line: scratch)
            }
        }
    }
}

extension GemmTile {
    /// One chunk's sums, from a zero that leaves every number as it is, a negative zero too.
    fileprivate func addChunk(
        _ chunk: Int, to sums: UnsafeMutablePointer<Float>, stride: Int, _ pairs: PairKernels?,
        _ scratch: UnsafeMutablePointer<Float>
    ) {
        sums.update(repeating: -0.0, count: rows.count * stride)
        let (segment, index) = chunk.quotientAndRemainder(dividingBy: ceilDivide(problem.depth, linearChunk))
        let depth = index * linearChunk..<min((index + 1) * linearChunk, problem.depth)
        if let pairs {
            addPairDirect(depth, segment, to: sums, stride: stride, pairs, scratch)
        } else {
            addDirect(depth, segment, to: sums, stride: stride, scratch)
        }
    }
}
