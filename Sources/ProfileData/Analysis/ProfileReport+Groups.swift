// SPDX-License-Identifier: MIT

/// Kernels by class and by name.
extension ProfileReport {
    private struct Sum {
        var count = 0
        var total: Int64 = 0
        var shortest = Int64.max
        var longest: Int64 = 0

        mutating func add(_ duration: Int64) {
            count += 1
            total += duration
            shortest = min(shortest, duration)
            longest = max(longest, duration)
        }

        func group(_ name: String, _ kernelClass: KernelClass, of all: Int64) -> Group {
            Group(
                name: name, kernelClass: kernelClass.rawValue, isCommunication: kernelClass.isCommunication,
                count: count, total: total, shortest: shortest, longest: longest,
                fraction: all == 0 ? 0 : Double(total) / Double(all))
        }
    }

    static func classes(_ trace: Trace) -> [Group] {
        var sums: [KernelClass: Sum] = [:]
        for operation in trace.operations { sums[operation.kernelClass, default: Sum()].add(operation.duration) }
        let groups = sums.map { $1.group($0.title, $0, of: total(trace, likewise: $0)) }
        return groups.sorted {
            ($0.isCommunication ? 1 : 0, $0.total, $1.name) > ($1.isCommunication ? 1 : 0, $1.total, $0.name)
        }
    }

    static func kernels(_ trace: Trace) -> [Group] {
        var sums: [NameID: (sum: Sum, kernelClass: KernelClass)] = [:]
        for operation in trace.operations {
            sums[operation.name, default: (Sum(), operation.kernelClass)].sum.add(operation.duration)
        }
        let groups = sums.map { id, entry in
            entry.sum.group(trace.names[id], entry.kernelClass, of: total(trace, likewise: entry.kernelClass))
        }
        return groups.sorted { ($0.total, $1.name) > ($1.total, $0.name) }
    }

    /// The summed time of all communication, or of all computation.
    private static func total(_ trace: Trace, likewise kernelClass: KernelClass) -> Int64 {
        trace.operations.lazy.filter { $0.kernelClass.isCommunication == kernelClass.isCommunication }
            .reduce(0) { $0 + $1.duration }
    }
}
