"""JSON shapes of the GitHub API; the addresses inside are GitHub's, whatever our port is."""

import base64

import words
from timeline import START, iso

API = "https://api.github.com"
HTML = "https://github.com"


def node_id(kind, id):
    """Return an opaque global id as GitHub makes them."""
    return base64.b64encode(f"0{len(kind)}:{kind}{id}".encode()).decode()


def user_shape(user, now):
    """Return a user, with the login of the time; None for None (a deleted account)."""
    if user is None:
        return None
    login = user.login(now)
    url = f"{API}/users/{login}"
    return {
        "login": login,
        "id": user.id,
        "node_id": node_id("User", user.id),
        "avatar_url": f"https://avatars.githubusercontent.com/u/{user.id}?v=4",
        "gravatar_id": "",
        "url": url,
        "html_url": f"{HTML}/{login}",
        "followers_url": f"{url}/followers",
        "following_url": f"{url}/following{{/other_user}}",
        "repos_url": f"{url}/repos",
        "events_url": f"{url}/events{{/privacy}}",
        "type": user.kind,
        "user_view_type": "public",
        "site_admin": user.id % 97 == 0,
    }


def label_shape(position, full_name):
    """Return the label at a position of words.LABELS."""
    name, color, description = words.LABELS[position]
    id = 700_000 + position
    return {
        "id": id,
        "node_id": node_id("Label", id),
        "url": f"{API}/repos/{full_name}/labels/{name.replace(' ', '%20')}",
        "name": name,
        "color": color,
        "default": position < 9,
        "description": description,
    }


def milestone_shape(milestone, full_name):
    """Return a milestone, None for None."""
    if milestone is None:
        return None
    title, state = milestone
    number = [known[0] for known in words.MILESTONES].index(title) + 1
    return {
        "url": f"{API}/repos/{full_name}/milestones/{number}",
        "id": 5_000_000 + number,
        "node_id": node_id("Milestone", 5_000_000 + number),
        "number": number,
        "title": title,
        "description": None,
        "state": state,
        "created_at": iso(START),
        "updated_at": iso(START),
        "due_on": None,
        "closed_at": iso(START) if state == "closed" else None,
    }


def reactions_shape(url, total):
    """Return the reactions of an issue."""
    return {
        "url": f"{url}/reactions",
        "total_count": total,
        "+1": total - total // 3,
        "-1": 0,
        "laugh": 0,
        "hooray": 0,
        "confused": 0,
        "heart": total // 3,
        "rocket": 0,
        "eyes": 0,
    }


def issue_shape(full_name, issue, version_index, now):
    """Return an issue in one of its versions, with the logins of the time."""
    version = issue.versions[version_index]
    kind = "pull" if issue.is_pull else "issues"
    url = f"{API}/repos/{full_name}/issues/{issue.number}"
    html_url = f"{HTML}/{full_name}/{kind}/{issue.number}"
    assignees = [user_shape(user, now) for user in version["assignees"]]
    shape = {
        "url": url,
        "repository_url": f"{API}/repos/{full_name}",
        "labels_url": f"{url}/labels{{/name}}",
        "comments_url": f"{url}/comments",
        "events_url": f"{url}/events",
        "html_url": html_url,
        "id": issue.id,
        "node_id": node_id("PullRequest" if issue.is_pull else "Issue", issue.id),
        "number": issue.number,
        "title": version["title"],
        "user": user_shape(issue.author, now),
        "labels": [label_shape(position, full_name) for position in version["labels"]],
        "state": version["state"],
        "locked": version["locked"],
        "assignee": assignees[0] if assignees else None,
        "assignees": assignees,
        "milestone": milestone_shape(version["milestone"], full_name),
        "comments": version["comments"],
        "created_at": iso(issue.times[0]),
        "updated_at": iso(issue.times[version_index]),
        "closed_at": iso(version["closed_at"]),
        "author_association": issue.association,
        "active_lock_reason": None,
    }
    if issue.is_pull:
        pull = f"{HTML}/{full_name}/pull/{issue.number}"
        shape["draft"] = issue.draft
        shape["pull_request"] = {
            "url": f"{API}/repos/{full_name}/pulls/{issue.number}",
            "html_url": pull,
            "diff_url": f"{pull}.diff",
            "patch_url": f"{pull}.patch",
            "merged_at": iso(version["merged_at"]),
        }
    shape |= {
        "body": issue.body,
        "closed_by": None,
        "reactions": reactions_shape(url, version["reactions"]),
        "timeline_url": f"{url}/timeline",
        "performed_via_github_app": None,
        "state_reason": version["state_reason"],
    }
    return shape


def commit_shape(full_name, commit, now):
    """Return a commit."""
    url = f"{API}/repos/{full_name}/commits/{commit.sha}"
    git = f"{API}/repos/{full_name}/git"
    committer = commit.committer
    when = iso(commit.when)
    return {
        "sha": commit.sha,
        "node_id": node_id("Commit", commit.sha),
        "commit": {
            "author": {"name": commit.name, "email": commit.email, "date": when},
            "committer": {
                "name": committer.name if committer else "GitHub",
                "email": "noreply@example.org",
                "date": when,
            },
            "message": commit.message,
            "tree": {"sha": commit.tree, "url": f"{git}/trees/{commit.tree}"},
            "url": f"{git}/commits/{commit.sha}",
            "comment_count": 0,
            "verification": {
                "verified": False,
                "reason": "unsigned",
                "signature": None,
                "payload": None,
                "verified_at": None,
            },
        },
        "url": url,
        "html_url": f"{HTML}/{full_name}/commit/{commit.sha}",
        "comments_url": f"{url}/comments",
        "author": user_shape(commit.author, now),
        "committer": user_shape(committer, now),
        "parents": [
            {
                "sha": sha,
                "url": f"{API}/repos/{full_name}/commits/{sha}",
                "html_url": f"{HTML}/{full_name}/commit/{sha}",
            }
            for sha in commit.parents
        ],
    }


def repository_shape(repository, open_issues):
    """Return a repository."""
    owner, name = repository.full_name.split("/")
    return {
        "id": repository.id,
        "node_id": node_id("Repository", repository.id),
        "name": name,
        "full_name": repository.full_name,
        "private": False,
        "owner": {"login": owner, "id": repository.id // 7, "type": "Organization"},
        "html_url": f"{HTML}/{repository.full_name}",
        "description": f"Sample data in the shape of {repository.full_name}",
        "fork": False,
        "url": f"{API}/repos/{repository.full_name}",
        "created_at": iso(START),
        "language": repository.language,
        "open_issues_count": open_issues,
        "default_branch": "main",
    }
