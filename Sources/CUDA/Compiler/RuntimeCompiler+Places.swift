// SPDX-License-Identifier: MIT

import Platform

extension RuntimeCompiler {
    /// Where the compiler is looked for: `FATHOM_NVRTC` alone where it is set; otherwise the loader's own places, the
    /// wheels in the virtual environments at hand, and the toolkit.
    public static func candidates() -> [String] {
        if let path = Machine.environment("FATHOM_NVRTC") { return [path] }
        let names = ["libnvrtc.so.13", "libnvrtc.so.12"]
        let wheels = VirtualEnvironments.wheelFolders().flatMap { folder in
            [("cu13/lib", names[0]), ("cuda_nvrtc/lib", names[1])].map { "\(folder)/\($0)/\($1)" }
        }.filter(FilePaths.exists)
        return names + wheels + names.map { "/usr/local/cuda/lib64/\($0)" }
    }
}

/// Python environments, in which NVIDIA's wheels may lie.
package enum VirtualEnvironments {
    /// Levels of folders above the working folder and the program in which `.venv` is looked for.
    private static let searchDepth = 6

    /// The folders `nvidia` of NVIDIA's wheels: of the active environment, then of `.venv` in or above the working
    /// folder and the program's folder.
    package static func wheelFolders() -> [String] {
        var roots: [String] = []
        if let active = Machine.environment("VIRTUAL_ENV") { roots.append(active) }
        for start in [Machine.environment("PWD"), Machine.executablePath.map(FilePaths.parent(of:))] {
            guard var folder = start else { continue }
            for _ in 0..<searchDepth where folder != "/" && folder != "." {
                roots.append(FilePaths.join(folder, ".venv"))
                folder = FilePaths.parent(of: folder)
            }
        }
        var found: [String] = []
        for root in roots {
            for python in (try? FilePaths.list("\(root)/lib")) ?? [] where python.hasPrefix("python") {
                let folder = "\(root)/lib/\(python)/site-packages/nvidia"
                if FilePaths.isFolder(folder), !found.contains(folder) { found.append(folder) }
            }
        }
        return found
    }
}
