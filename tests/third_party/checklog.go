// Command checklog verifies an exported log folder, and proofs, with Go's own packages for transparency logs.
// It shares no line with moorage: golang.org/x/mod/sumdb/note checks the log's signature on the checkpoint (and
// ignores kinds of signatures that it does not know), golang.org/x/mod/sumdb/tlog every entry against the tiles.
//
//	checklog VKEY FOLDER [PROOF...]
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8

type folder string

func (f folder) read(tile tlog.Tile) ([]byte, error) {
	// Go's paths carry the tile height, those of c2sp.org/tlog-tiles do not.
	path := strings.TrimPrefix(tile.Path(), "tile/8/")
	if tile.L < 0 {
		path = strings.Replace(path, "data/", "entries/", 1)
	}
	return os.ReadFile(filepath.Join(string(f), "tile", path))
}

func openCheckpoint(data []byte, verifier note.Verifier) (tlog.Tree, error) {
	opened, err := note.Open(data, note.VerifierList(verifier))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		return tlog.Tree{}, errors.New("not a checkpoint of this log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		return tlog.Tree{}, err
	}
	root, err := tlog.ParseHash(lines[2])
	return tlog.Tree{N: size, Hash: root}, err
}

func bundleEntries(data []byte) ([][]byte, error) {
	var entries [][]byte
	for len(data) > 0 {
		if len(data) < 2 || len(data) < 2+int(binary.BigEndian.Uint16(data)) {
			return nil, errors.New("an entry bundle is cut off")
		}
		end := 2 + int(binary.BigEndian.Uint16(data))
		entries = append(entries, data[2:end])
		data = data[end:]
	}
	return entries, nil
}

// checkEntries hashes every entry anew, and compares root and tiles with what that comes to. It asks nothing of
// tlog.TileHashReader: in the releases that Debian has, that one starts to authenticate tiles too late in its list when
// several subtrees of the root lie in one tile.
func checkEntries(f folder, tree tlog.Tree) error {
	var hashes []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = hashes[index]
		}
		return found, nil
	})
	for first := int64(0); first < tree.N; first += 1 << tileHeight {
		width := min(tree.N-first, 1<<tileHeight)
		data, err := f.read(tlog.Tile{H: tileHeight, L: -1, N: first >> tileHeight, W: int(width)})
		if err != nil {
			return err
		}
		entries, err := bundleEntries(data)
		if err != nil || int64(len(entries)) != width {
			return fmt.Errorf("bundle at %d: %d entries, %v", first, len(entries), err)
		}
		for i, entry := range entries {
			added, err := tlog.StoredHashes(first+int64(i), entry, reader)
			if err != nil {
				return err
			}
			hashes = append(hashes, added...)
		}
	}
	root, err := tlog.TreeHash(tree.N, reader)
	if err != nil || root != tree.Hash {
		return fmt.Errorf("the entries do not lead to the signed root: %v", err)
	}
	for _, tile := range tlog.NewTiles(tileHeight, 0, tree.N) {
		// It lists a partial tile at each of its widths; an export has the last.
		if int64(tile.W) != min(1<<tileHeight, tree.N>>(tileHeight*tile.L)-tile.N<<tileHeight) {
			continue
		}
		wanted, err := tlog.ReadTileData(tile, reader)
		if err != nil {
			return err
		}
		found, err := f.read(tile)
		if err != nil || !bytes.Equal(found, wanted) {
			return fmt.Errorf("%s is not made of the entries: %v", tile.Path(), err)
		}
	}
	return nil
}

// leafOf takes off the line that opens a salted digest: what is logged is what stands before it.
func leafOf(extra []byte) []byte {
	const opening = "\nsalt "
	tail := len(opening) + 64 + 1
	if len(extra) > tail && bytes.HasPrefix(extra[len(extra)-tail:], []byte(opening)) {
		return extra[:len(extra)-tail]
	}
	return extra
}

func checkProof(path string, verifier note.Verifier) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	head, checkpoint, found := bytes.Cut(data, []byte("\n\n"))
	lines := strings.Split(string(head), "\n")
	if !found || len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("not a proof with an entry")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return err
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil {
		return err
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return err
		}
		proof = append(proof, hash)
	}
	tree, err := openCheckpoint(checkpoint, verifier)
	if err != nil {
		return err
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leafOf(extra))); err != nil {
		return err
	}
	fmt.Printf("proof ok: entry %d of %d\n", index, tree.N)
	return nil
}

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: checklog VKEY FOLDER [PROOF...]")
	}
	verifier, err := note.NewVerifier(arguments[0])
	if err != nil {
		return err
	}
	f := folder(arguments[1])
	data, err := os.ReadFile(filepath.Join(string(f), "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(data, verifier)
	if err != nil {
		return err
	}
	if err := checkEntries(f, tree); err != nil {
		return err
	}
	fmt.Printf("log ok: %d entries of %s\n", tree.N, verifier.Name())
	for _, path := range arguments[2:] {
		if err := checkProof(path, verifier); err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "checklog:", err)
		os.Exit(1)
	}
}
