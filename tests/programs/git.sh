# git.sh DIR: makes a repository, clones it, packs it, checks it.
set -eu
cd "$1"
export HOME="$PWD" GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@example.org
export GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@example.org
export GIT_AUTHOR_DATE='2024-01-01T00:00:00Z' GIT_COMMITTER_DATE='2024-01-01T00:00:00Z'
git config --global init.defaultBranch main
git config --global pack.threads 2
git config --global gc.autoDetach false
git init -q source
cd source
i=1
while [ $i -le 30 ]; do
    mkdir -p "dir$((i % 7))"
    seq 1 $((i * 200)) >"dir$((i % 7))/file$i"
    seq $i 3 3000 >changing
    git add -A
    git commit -q -m "commit $i"
    if [ $((i % 10)) -eq 0 ]; then git tag "v$i"; git branch "b$i"; fi
    i=$((i + 1))
done
git checkout -q -b topic v10
echo topic >topic
git add topic
git commit -q -m topic
git merge -q -m merge main
cd ..
git clone -q source clone
git clone -q --bare source bare.git
cd clone
git gc -q --aggressive --prune=now
git repack -q -a -d -f --depth=50 --window=50
git fsck --full --strict
git log --oneline --graph --all --stat | tail -100
git rev-parse HEAD
git diff --stat v10 HEAD | tail -5
git blame changing | sha256sum
git grep -c 77 | sort | head
git archive HEAD | sha256sum
git count-objects -v | grep -v size
cd ../bare.git
git fsck --full
git show-ref
