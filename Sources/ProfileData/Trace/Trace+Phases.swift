// SPDX-License-Identifier: MIT

/// Which annotation launched what.
extension Trace {
    /// For each operation the call that launched it, as an index in `calls`; −1 where the trace does not say.
    var launchOfOperations: [Int32] {
        var launches: [Int64: Int32] = [:]
        for (index, call) in calls.enumerated() where call.correlation >= 0 {
            launches[call.correlation] = Int32(index)
        }
        return operations.map { $0.correlation < 0 ? -1 : launches[$0.correlation] ?? -1 }
    }

    /// For each operation the innermost annotation in whose time it was launched, as an index in `annotations`; −1
    /// where there is none.
    ///
    /// Other threads launch on behalf of the annotated one (automatic differentiation does), so threads do not count.
    var phaseOfOperations: [Int32] {
        let launches = launchOfOperations
        var result = [Int32](repeating: -1, count: operations.count)
        var open: [Int] = []
        var next = 0
        let launched = operations.indices.filter { launches[$0] >= 0 }.sorted { launches[$0] < launches[$1] }
        for index in launched {
            let time = calls[Int(launches[index])].start
            while next < annotations.count, annotations[next].start <= time {
                open.append(next)
                next += 1
            }
            open.removeAll { annotations[$0].end <= time }
            if let inner = open.last { result[index] = Int32(inner) }
        }
        return result
    }
}
